"""A document's current row: of its rows in a range of versions, the one of the highest version.

Assignments are added and never changed, so most documents have one row and some have several. The rows are read batch
by batch; memory holds 16 bytes for each row that was written after the first version of the range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import string_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import lance
    from numpy.typing import NDArray

__all__ = ["VersionRange", "current_rows"]

BATCH_ROWS: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions whose assignments count together: a full fit, and versions that go on from it."""

    first: int
    """The version of the full fit."""
    last: int
    """The last version that counts."""
    tokens: tuple[str, ...]
    """The tokens of the operations that wrote these versions."""

    @property
    def condition(self) -> pc.Expression:
        """Which rows of the topic tables belong to it."""
        version = pc.field("version")
        return (version >= self.first) & (version <= self.last) & pc.field("model").isin(list(self.tokens))


def current_rows(
    dataset: lance.LanceDataset, versions: VersionRange, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The `columns` of each document's current row, batch by batch in the order in which they were written."""
    rewritten = _rewritten(dataset, versions) if versions.first < versions.last else None
    read = list(dict.fromkeys([*columns, "id", "version"] if rewritten else columns))
    for batch in dataset.to_batches(columns=read, filter=versions.condition, batch_size=BATCH_ROWS):
        current = batch if rewritten is None else batch.filter(rewritten.newest(batch))
        if current.num_rows:
            yield current.select(list(columns))


@dataclass(frozen=True, slots=True)
class _Rewritten:
    """Documents that were written again after the first version."""

    hashes: NDArray[np.uint64]
    """uint64 [n]: hashes of their ids, ascending."""
    versions: NDArray[np.int64]
    """int64 [n]: the last version that wrote each of them."""

    def newest(self, batch: pa.RecordBatch) -> pa.Array:
        """For each row whether it is the newest of its document, bool [rows]."""
        hashes, version = string_hashes(batch.column("id")), batch.column("version").to_numpy()
        if len(self.hashes) == 0:
            return pa.array(np.ones(len(hashes), dtype=bool))
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self.hashes) - 1)
        return pa.array((self.hashes[at] != hashes) | (self.versions[at] == version))


def _rewritten(dataset: lance.LanceDataset, versions: VersionRange) -> _Rewritten:
    later = VersionRange(versions.first + 1, versions.last, versions.tokens)
    batches = list(dataset.to_batches(columns=["id", "version"], filter=later.condition, batch_size=BATCH_ROWS))
    hashes = np.concatenate([np.empty(0, np.uint64), *(string_hashes(batch.column("id")) for batch in batches)])
    written = np.concatenate([np.empty(0, np.int64), *(batch.column("version").to_numpy() for batch in batches)])
    order = np.lexsort((written, hashes))
    hashes, written = hashes[order], written[order]
    # Of the rows with the same hash, the last one has the highest version.
    is_last = np.append(hashes[1:] != hashes[:-1], np.ones(min(len(hashes), 1), dtype=bool))
    return _Rewritten(hashes[is_last], written[is_last])
