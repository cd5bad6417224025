"""The ledger: which slices are finished, as far as a given version of the table tells.

A slice is *stored* when the table has rows of it. A commit refuses what is stored, and the compare-and-swap tells of
rows that came in between. Slices without a row, whose documents were all rejected or deleted, are finished when they
are marked (`pipeline.table.companions.rejects`); marks serve planning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import is_in_sorted
from pipeline.table.companions.rejects import marked_slices
from pipeline.table.schema import FILES, document_column
from pipeline.table.store import existing_dataset, read_all, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["Ledger", "held_rows"]

_BATCH_ROWS: Final = 131_072
"""Rows in a step of an id scan: Arrow builds the set to look into again at each step."""

_NONE: Final = np.empty(0, np.int64)


@dataclass(slots=True)
class Ledger:
    """Finished slices, as sorted int64 arrays without repetition: 8 bytes a slice."""

    version: int = 0
    """The table's version that `stored` is of."""
    stored: np.ndarray = field(default_factory=_NONE.copy)
    """Slices of which the table holds rows."""
    marked: np.ndarray = field(default_factory=_NONE.copy)
    """Slices that are finished without a row."""
    complete_files: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(uri, version) of the input files that are finished as a whole."""
    _seen: set[str] = field(default_factory=set[str])

    @classmethod
    def load(cls, location: TableLocation, unbegun: Iterable[str] = ()) -> Self:
        """Read the ledger of a table; nothing is written. Marks of the files `unbegun` do not count.

        Raises:
            TableNotFoundError: there is no table.
        """
        dataset = existing_dataset(location)
        # Read after the table was opened: a slice that loses its last row in between is in one of the two.
        ledger = cls(marked=marked_slices(location, unbegun))
        ledger.absorb(dataset)
        files = read_all(location.sibling("files"), FILES, pc.field("complete"))
        uris, versions = files.column("uri").to_pylist(), files.column("version").to_pylist()
        ledger.complete_files = set(zip(uris, versions, strict=True))
        return ledger

    @property
    def done(self) -> np.ndarray:
        """All finished slices, int64, sorted."""
        return np.union1d(self.stored, self.marked)

    def is_stored(self, slices: np.ndarray) -> np.ndarray:
        """For each of `slices` (int64 [n]) whether it is stored, bool [n]."""
        return is_in_sorted(slices, self.stored)

    def are_done(self, slices: Iterable[int] | np.ndarray) -> bool:
        """Whether all of `slices` are finished."""
        wanted = slices if isinstance(slices, np.ndarray) else np.fromiter(slices, np.int64)
        return bool((self.is_stored(wanted) | is_in_sorted(wanted, self.marked)).all())

    def absorb(self, dataset: lance.LanceDataset) -> None:
        """Learn what `dataset` holds beyond what is known: only fragments not seen before are read."""
        if dataset.version == self.version:
            return
        fragments = dataset.get_fragments()
        paths = [str(fragment.metadata.files[0].path) for fragment in fragments]
        new = [fragment for fragment, path in zip(fragments, paths, strict=True) if path not in self._seen]
        if new:
            with storage_errors("read the ledger of", dataset):
                scanner = dataset.scanner(columns=["slice"], fragments=new)
                found = [np.unique(batch.column(0).to_numpy()) for batch in scanner.to_batches()]
            self.stored = np.unique(np.concatenate([self.stored, *found]))
        self._seen = set(paths)
        self.version = dataset.version

    def mark(self, slices: np.ndarray) -> None:
        """Remember slices that were marked."""
        self.marked = np.union1d(self.marked, slices)


def held_rows(
    dataset: lance.LanceDataset,
    ids: pa.Array | pa.ChunkedArray,
    columns: Sequence[str] = (),
    *,
    where: pc.Expression | None = None,
    fragments: Sequence[lance.LanceFragment] | None = None,
) -> pa.Table:
    """The rows of documents with one of `ids`: ``id`` and `columns`; memory is bounded by these and one batch.

    Args:
        dataset: the table.
        ids: string [n].
        columns: what to read besides.
        where: look only at rows for which this holds.
        fragments: look only into these.
    """
    wanted = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    names = [document_column(dataset.schema), *columns]
    found = [pa.schema([dataset.schema.field(name) for name in names]).empty_table()]
    if len(wanted) and fragments != []:
        only = None if fragments is None else list(fragments)
        with storage_errors("look for ids in", dataset):
            scanner = dataset.scanner(columns=names, filter=where, fragments=only, batch_size=_BATCH_ROWS)
            for batch in scanner.to_batches():
                hits = batch.filter(pc.is_in(batch.column(names[0]), value_set=wanted))
                found.append(pa.Table.from_batches([hits]))
    return pa.concat_tables(found).rename_columns(["id", *columns])
