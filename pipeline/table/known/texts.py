"""Which texts a table holds: for each a hash and a row address, 16 bytes; a hit is compared with the stored text.

Replicas ask before they embed a text again, the driver before it stores one again. `refresh` learns what the table has
gained, and reads the texts of new fragments only.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import string_hashes
from pipeline.errors import UsageError
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["KnownTexts"]

logger = logging.getLogger(__name__)

MAX_TEXTS_REMEMBERED: Final = 50_000_000
"""Texts that are remembered: 800 MB. Later ones are as if the table did not have them."""

MAX_ROWS_PER_HASH: Final = 4
"""Rows that are looked at for one hash: more than one only where equal texts are stored, or outdated ones."""

MAX_ROWS_PER_READ: Final = 4096
_FRAGMENT_BITS: Final = 32


class KnownTexts:
    """The texts of one table. Not safe to use from several threads.

    Raises:
        UsageError: the table stores no texts.
    """

    def __init__(self, location: TableLocation) -> None:
        self.location = location
        self._dataset: lance.LanceDataset | None = None
        self._seen: dict[int, tuple[str, int]] = {}
        self._hashes, self._rows = np.empty(0, np.uint64), np.empty(0, np.int64)
        self.refresh()

    def __len__(self) -> int:
        return len(self._hashes)

    def refresh(self, dataset: lance.LanceDataset | None = None) -> None:
        """Learn what `dataset`, or the newest version of the table, holds."""
        dataset = open_dataset(self.location) if dataset is None else dataset
        if dataset is None or (self._dataset is not None and dataset.version == self._dataset.version):
            return
        if "text" not in dataset.schema.names:
            raise UsageError(f"{self.location} stores no texts that others could be compared with")
        self._dataset = dataset
        there = {fragment.fragment_id: _state(fragment) for fragment in dataset.get_fragments()}
        stale = [number for number, state in self._seen.items() if there.get(number) != state]
        if stale:
            left = ~np.isin(self._rows >> _FRAGMENT_BITS, stale)
            self._hashes, self._rows = self._hashes[left], self._rows[left]
        known = self._seen.keys() - stale
        self._add(dataset, [each for each in dataset.get_fragments() if each.fragment_id not in known])
        self._seen = there

    def find(self, texts: pa.Array, columns: Sequence[str]) -> pa.Table:
        """Rows of the table with one of `texts`: the columns text, `columns` and _rowid; a text may have several."""
        addresses = self._candidates(string_hashes(texts))
        assert self._dataset is not None
        schema = pa.schema([self._dataset.schema.field(name) for name in ["text", *columns]])
        found = [schema.append(pa.field("_rowid", pa.uint64())).empty_table()]
        with storage_errors("read the texts of", self.location):
            for start in range(0, len(addresses), MAX_ROWS_PER_READ):
                some = ",".join(map(str, addresses[start : start + MAX_ROWS_PER_READ]))
                scanner = self._dataset.scanner(columns=schema.names, filter=f"_rowid IN ({some})", with_row_id=True)
                found.append(scanner.to_table())
        rows = pa.concat_tables(found)
        return rows.filter(pc.is_in(rows.column("text"), value_set=texts.cast(rows.column("text").type)))

    def _candidates(self, hashes: np.ndarray) -> np.ndarray:
        first = np.searchsorted(self._hashes, hashes, side="left")
        counts = np.minimum(np.searchsorted(self._hashes, hashes, side="right") - first, MAX_ROWS_PER_HASH)
        at = np.repeat(first, counts) + np.concatenate([np.empty(0, int), *map(np.arange, counts[counts > 0])])
        return np.unique(self._rows[at.astype(int)])

    def _add(self, dataset: lance.LanceDataset, fragments: list[lance.LanceFragment]) -> None:
        if not fragments:
            return
        hashes, rows = [self._hashes], [self._rows]
        room = MAX_TEXTS_REMEMBERED - len(self)
        with storage_errors("read the texts of", self.location):
            scanner: Any = dataset.scanner(columns=["text"], fragments=fragments, with_row_address=True)
            for batch in scanner.to_batches():
                if room <= 0:
                    logger.warning(
                        "%s has more than %d texts: later ones are not compared", self.location, MAX_TEXTS_REMEMBERED
                    )
                    break
                hashes.append(string_hashes(batch.column("text")))
                rows.append(batch.column("_rowaddr").to_numpy().astype(np.int64))
                room -= len(batch)
        joined, addresses = np.concatenate(hashes), np.concatenate(rows)
        order = np.argsort(joined, kind="stable")
        self._hashes, self._rows = joined[order], addresses[order]


def _state(fragment: lance.LanceFragment) -> tuple[str, int]:
    """What changes when rows of the fragment come or go."""
    deletions = fragment.metadata.deletion_file
    return str(fragment.metadata.files[0].path), 0 if deletions is None else deletions.num_deleted_rows
