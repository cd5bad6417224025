"""Which ids a table may hold, known to the driver, so that a commit need not look through the whole table for its own.

Reading the ids of every fragment takes 4 ms a fragment: 4 s for each commit in a table of a thousand. So they are read
once, and from then on those of new fragments only. What is kept of an id is a hash of 64 bits and the fragment that
holds it, 12 bytes, in sorted runs; long ones lie in temporary files and are mapped, not held. A hit is only a hint: the
caller looks into the fragments that are named (`held_rows`). Ids of rows that have left keep their hits.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.columns import string_hashes
from pipeline.table.schema import document_column
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

    from pipeline.table.location import TableLocation

__all__ = ["KnownIds"]

MAX_RUN_IDS: Final = 1 << 24
"""Ids in a run that is not joined with others any more: 192 MB."""

MIN_MAPPED_IDS: Final = 1 << 20
"""A run with this many ids, or more, is put into a file."""

_FRAGMENT_BITS: Final = 32


@dataclass(slots=True)
class KnownIds:
    """The ids of all fragments that were absorbed."""

    _runs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list[tuple[np.ndarray, np.ndarray]])
    _seen: set[str] = field(default_factory=set[str])

    def absorb(self, dataset: lance.LanceDataset, location: TableLocation) -> None:
        """Learn the ids of the fragments of `dataset` that were not seen before."""
        fragments = dataset.get_fragments()
        new = [each for each in fragments if str(each.metadata.files[0].path) not in self._seen]
        if not new:
            return
        column = document_column(dataset.schema)
        with storage_errors("read the ids of", location):
            scanner = dataset.scanner(columns=[column], fragments=new, with_row_address=True)
            for batch in scanner.to_batches():
                numbers = batch.column("_rowaddr").to_numpy() >> _FRAGMENT_BITS
                self._add(string_hashes(batch.column(column)), numbers.astype(np.uint32))
        self._seen |= {str(each.metadata.files[0].path) for each in new}

    def may_hold(self, ids: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """For each of `ids` (string [n]) whether the table may hold it, bool [n]; and the fragments that then do."""
        wanted = string_hashes(ids)
        hit = np.zeros(len(wanted), bool)
        fragments = [np.empty(0, np.uint32)]
        for hashes, numbers in self._runs:
            first, last = (np.searchsorted(hashes, wanted, side) for side in ("left", "right"))
            found = last > first
            hit |= found
            spans = [numbers[start:stop] for start, stop in zip(first[found], last[found], strict=True)]
            fragments += [np.unique(np.concatenate(spans))] if spans else []
        return hit, np.unique(np.concatenate(fragments))

    def _add(self, hashes: np.ndarray, numbers: np.ndarray) -> None:
        order = np.argsort(hashes)
        self._runs.append((hashes[order], numbers[order]))
        while len(self._runs) > 1 and self._belong_together(*self._runs[-2:]):
            self._runs[-2:] = [_joined(*self._runs[-2:])]
        hashes, numbers = self._runs[-1]
        self._runs[-1] = _mapped_if_large(hashes), _mapped_if_large(numbers)

    @staticmethod
    def _belong_together(older: tuple[np.ndarray, np.ndarray], newer: tuple[np.ndarray, np.ndarray]) -> bool:
        return len(older[0]) < 2 * len(newer[0]) and len(older[0]) + len(newer[0]) <= MAX_RUN_IDS


def _joined(
    older: tuple[np.ndarray, np.ndarray], newer: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    hashes = np.concatenate([older[0], newer[0]])
    order = np.argsort(hashes, kind="stable")
    return hashes[order], np.concatenate([older[1], newer[1]])[order]


def _mapped_if_large(array: np.ndarray) -> np.ndarray:
    """`array`, mapped from a file without a name if it is large."""
    if len(array) < MIN_MAPPED_IDS or isinstance(array, np.memmap):
        return array
    with tempfile.TemporaryFile() as file:
        array.tofile(file)
        file.flush()
        return np.memmap(file, array.dtype, "r", shape=array.shape)
