"""A document's current topic: of its rows in a line of versions, the one of the highest version.

Assignments are added and never changed, so most documents have one row and some have several. The line is read batch
by batch; what is held in memory is 16 bytes for each row that came after the line's first version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.topics.keys import id_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import lance
    from numpy.typing import NDArray

__all__ = ["Line", "current_rows"]

BATCH_ROWS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Line:
    """The versions `first` to `last` whose rows count together, and the tokens that wrote them."""

    first: int
    last: int
    tokens: tuple[str, ...]

    @property
    def rows(self) -> pc.Expression:
        """Which rows of the topic tables belong to it."""
        version = pc.field("version")
        return (version >= self.first) & (version <= self.last) & pc.field("model").isin(list(self.tokens))


def current_rows(dataset: lance.LanceDataset, line: Line, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The `columns` of each document's current row, batch by batch in the order in which they were written."""
    superseding = _superseding(dataset, line) if line.first < line.last else None
    read = list(dict.fromkeys([*columns, "id", "version"] if superseding else columns))
    for batch in dataset.to_batches(columns=read, filter=line.rows, batch_size=BATCH_ROWS):
        current = batch if superseding is None else batch.filter(superseding.newest(batch))
        if current.num_rows:
            yield current.select(list(columns))


@dataclass(frozen=True, slots=True)
class _Superseding:
    """Documents that were written again: `hashes` uint64 [n] of their ids, ascending, and the last `versions`."""

    hashes: NDArray[np.uint64]
    versions: NDArray[np.int64]

    def newest(self, batch: pa.RecordBatch) -> pa.Array:
        """Which rows are the newest of their documents, bool [rows]."""
        hashes, version = id_hashes(batch.column("id")), batch.column("version").to_numpy()
        if len(self.hashes) == 0:
            return pa.array(np.ones(len(hashes), dtype=bool))
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return pa.array((self.hashes[at] != hashes) | (self.versions[at] == version))


def _superseding(dataset: lance.LanceDataset, line: Line) -> _Superseding:
    later = Line(line.first + 1, line.last, line.tokens)
    batches = list(dataset.to_batches(columns=["id", "version"], filter=later.rows, batch_size=BATCH_ROWS))
    hashes = np.concatenate([np.empty(0, np.uint64), *(id_hashes(batch.column("id")) for batch in batches)])
    versions = np.concatenate([np.empty(0, np.int64), *(batch.column("version").to_numpy() for batch in batches)])
    order = np.lexsort((versions, hashes))
    hashes, versions = hashes[order], versions[order]
    last = np.append(hashes[1:] != hashes[:-1], np.ones(min(len(hashes), 1), dtype=bool))
    return _Superseding(hashes[last], versions[last])
