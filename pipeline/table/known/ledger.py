"""The ledger: which slices are finished, as far as a given version of the table tells.

A slice is finished when the table holds rows of it, when rows of it were deleted for good, or when every row of it
is in the rejects. Only the first two are *stored*: a commit refuses those, and the compare-and-swap tells of rows that
came in between. The third serves planning; a rejection as duplicate counts there only once the id's holder is in the
table, because the holder may have been in a batch that never got that far.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableNotFoundError
from pipeline.table.companions.rejects import COPY, DELETED, DUPLICATE, deleted_ids
from pipeline.table.schema import FILES, document_column
from pipeline.table.store import open_dataset, read_all, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["TWINS", "Ledger", "held_ids", "without_holder"]

_CHUNK: Final = 1_000_000
"""Ids asked for in one pass over the table."""

_BATCH: Final = 131_072
"""Rows per step of an id scan: Arrow builds the set to look into anew at each step."""

_NONE: Final = np.empty(0, np.int64)

TWINS: Final = f"reason = '{DUPLICATE}' OR reason LIKE '{COPY}%'"
"""Rejects for the sake of another document, which has the id or the text."""


@dataclass(slots=True)
class Ledger:
    """Finished slices, as sorted int64 arrays without repetition: 8 bytes a slice."""

    version: int = 0
    stored: np.ndarray = field(default_factory=_NONE.copy)
    """Slices of which the table holds rows, or whose rows were deleted."""
    rejected: np.ndarray = field(default_factory=_NONE.copy)
    """Slices of which every row is in the rejects for good."""
    complete_files: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """(uri, version) of the input files that are finished as a whole."""
    _seen: set[str] = field(default_factory=set[str])

    @classmethod
    def load(cls, location: TableLocation) -> Self:
        """Read the ledger of a table; nothing is written.

        Raises:
            TableNotFoundError: there is no table.
        """
        dataset = open_dataset(location)
        if dataset is None:
            raise TableNotFoundError(f"there is no table {location}")
        ledger = cls()
        ledger.absorb(dataset, location)
        ledger.rejected = _wholly_rejected(location, dataset, ledger.stored)
        files = read_all(location.sibling("files"), FILES, pc.field("complete"))
        uris, versions = files.column("uri").to_pylist(), files.column("version").to_pylist()
        ledger.complete_files = set(zip(uris, versions, strict=True))
        return ledger

    @property
    def done(self) -> np.ndarray:
        """All finished slices, int64, sorted."""
        return np.union1d(self.stored, self.rejected)

    def is_stored(self, slices: np.ndarray) -> np.ndarray:
        """For each of `slices` (int64 [n]) whether it is stored, bool [n]."""
        at = np.searchsorted(self.stored, slices)
        at[at == len(self.stored)] = 0
        return self.stored[at] == slices if len(self.stored) else np.zeros(len(slices), bool)

    def are_done(self, slices: Iterable[int] | np.ndarray) -> bool:
        """Whether all of `slices` are finished."""
        wanted = slices if isinstance(slices, np.ndarray) else np.fromiter(slices, np.int64)
        missing = wanted[~self.is_stored(wanted)]
        return bool(np.isin(missing, self.rejected).all())

    def absorb(self, dataset: lance.LanceDataset, location: TableLocation) -> None:
        """Learn what `dataset` holds beyond what is known: only fragments not seen before are read."""
        if dataset.version == self.version:
            return
        fragments = dataset.get_fragments()
        paths = [str(fragment.metadata.files[0].path) for fragment in fragments]
        new = [fragment for fragment, path in zip(fragments, paths, strict=True) if path not in self._seen]
        found = [self.stored, _deleted_slices(location)]
        if new:
            with storage_errors("read the ledger of", location):
                scanner = dataset.scanner(columns=["slice"], fragments=new)
                found += [np.unique(batch.column(0).to_numpy()) for batch in scanner.to_batches()]
        self.stored = np.unique(np.concatenate(found))
        self._seen = set(paths)
        self.version = dataset.version

    def note_rejected(self, slices: np.ndarray) -> None:
        """Remember slices that ended in the rejects as a whole."""
        self.rejected = np.union1d(self.rejected, slices)


def held_ids(
    dataset: lance.LanceDataset,
    ids: pa.Array | pa.ChunkedArray,
    *,
    sources: pa.Array | None = None,
    where: pc.Expression | None = None,
    fragments: Sequence[lance.LanceFragment] | None = None,
) -> pa.Array:
    """Those of `ids` whose documents the table holds, distinct; memory is bounded by `ids` and one batch.

    Args:
        dataset: the table.
        ids: string [n].
        sources: look only at rows of these sources.
        where: look only at rows for which this holds.
        fragments: look only into these.
    """
    wanted = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    found: list[pa.Array] = []
    if len(wanted) and fragments != []:
        document = document_column(dataset.schema)
        within = where if sources is None else pc.field("source").isin(sources)
        within = within if sources is None or where is None else within & where
        with storage_errors("look for ids in", dataset):
            for batch in _scan(dataset, document, within, fragments):
                column = batch.column(0)
                hits = column.filter(pc.is_in(column, value_set=wanted))
                if len(hits):
                    found.append(hits)
    return pa.chunked_array(found, pa.string()).unique()


def _scan(
    dataset: lance.LanceDataset,
    column: str,
    within: pc.Expression | None,
    fragments: Sequence[lance.LanceFragment] | None,
) -> Iterator[pa.RecordBatch]:
    only = None if fragments is None else list(fragments)
    return dataset.scanner(columns=[column], filter=within, fragments=only, batch_size=_BATCH).to_batches()


def _deleted_slices(location: TableLocation) -> np.ndarray:
    rejects = open_dataset(location.sibling("rejects"))
    if rejects is None:
        return _NONE
    # Not those that a commit refused for their id: they are written before the rest of their slice is in the table.
    tombstones = (pc.field("reason") == DELETED) & (pc.field("stage") == "delete")
    with storage_errors("read the rejects of", location):
        return np.unique(rejects.to_table(columns=["slice"], filter=tombstones).column(0).to_numpy())


def _wholly_rejected(location: TableLocation, dataset: lance.LanceDataset, stored: np.ndarray) -> np.ndarray:
    rejects = open_dataset(location.sibling("rejects"))
    if rejects is None:
        return _NONE
    with storage_errors("read the rejects of", location):
        rows = rejects.to_table(columns={"slice": "slice", "slice_rows": "slice_rows", "twin": TWINS})
    counts = rows.group_by("slice").aggregate([("slice_rows", "count"), ("slice_rows", "max"), ("twin", "any")])
    whole = counts.filter(pc.greater_equal(counts["slice_rows_count"], counts["slice_rows_max"]))
    slices = whole.column("slice").to_numpy()
    twins = slices[whole.column("twin_any").to_numpy() & ~np.isin(slices, stored)]
    doubtful = _slices_without_holder(location, rejects, dataset, twins)
    return np.setdiff1d(slices, doubtful)


def without_holder(
    twins: pa.RecordBatch,
    dataset: lance.LanceDataset,
    deleted: pa.Array,
    rewritten: Callable[[pa.Array], pa.Array] | None = None,
    leaving: Sequence[str] = (),
) -> pa.Array:
    """For each of `twins` (id, reason: rejects for which `TWINS` holds) whether its holder is missing, bool [n].

    Args:
        twins: what was rejected for the sake of another document.
        dataset: the table that should hold it.
        deleted: ids of documents that were deleted for good; their ids and texts stay away.
        rewritten: which of some ids are of documents that have another text than they had.
        leaving: files whose rows do not count.
    """
    reason = twins.column("reason")
    is_copy = pc.starts_with(reason, COPY)
    holders = pc.if_else(is_copy, pc.utf8_slice_codeunits(reason, len(COPY)), twins.column("id"))
    staying = pc.field("source").is_null() | ~pc.field("source").isin(list(leaving)) if leaving else None
    held = pc.is_in(holders, value_set=held_ids(dataset, holders, where=staying))
    if rewritten is not None:
        others = rewritten(holders.filter(is_copy).unique())
        held = pc.and_not(held, pc.and_(is_copy, pc.is_in(holders, value_set=others)))
    return pc.invert(pc.or_(held, pc.is_in(holders, value_set=deleted)))


def _slices_without_holder(
    location: TableLocation, rejects: lance.LanceDataset, dataset: lance.LanceDataset, slices: np.ndarray
) -> np.ndarray:
    """Those of `slices` with a duplicate, of an id or of a text, whose holder the table has not and never had."""
    if not len(slices):
        return _NONE
    deleted = deleted_ids(location)
    orphans = [_NONE]
    with storage_errors("read the rejects of", location):
        scanner = rejects.scanner(columns=["id", "slice", "reason"], filter=TWINS, batch_size=_CHUNK)
        for batch in scanner.to_batches():
            rows = batch.filter(pc.is_in(batch.column("slice"), value_set=pa.array(slices)))
            if rows.num_rows:
                orphans.append(rows.column("slice").filter(without_holder(rows, dataset, deleted)).to_numpy())
    return np.unique(np.concatenate(orphans))
