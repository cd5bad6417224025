"""Rejected documents that are tried again: which ones, and which rows of which slices they are.

A slice is finished as a whole, so a document of a finished slice needs a special path: its slice is read again, all
rows but the rejected ones are left out, and a commit judges it by slice *and* row (`pipeline.table.commit.admission`).
Its reject stays until the row is in the table. Then it goes (`drop_overtaken`), so a crash at any moment leaves the
document rejected, or accepted and tidied up by the next run.

What the bytes of the file decide (`FINAL`: empty, malformed, …) is not tried again: it would end the same way. Without
being asked, a run tries again only the *duplicates whose original has gone*: a document that moved from one file to
another must not be lost between the two. The new place is often read while the table still holds the row of the old
one, so the document is rejected there as a duplicate. When the old row then leaves the table with its file, the reject
must be tried again. The same holds for a copy whose original leaves, gets another text, or was itself refused.

Nothing of this is stored: whether the original is there is asked of the table (`missing_originals`), in every plan and
at the end of a run. A document that was deleted for good still counts as an original.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import is_among
from pipeline.rejects import COPY, DUPLICATE, FINAL, PLACE, REJECTS
from pipeline.table.companions.deleted import read_deleted, text_marks
from pipeline.table.companions.rejects import read_rejects
from pipeline.table.known.ledger import held_rows
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    import lance

    from pipeline.table.known.ledger import Ledger
    from pipeline.table.location import TableLocation

__all__ = ["Retry", "copy_detail", "missing_originals", "no_row_has_left", "rejects_that_can_pass"]

MAX_ROWS_LOOKED_UP: Final = 1_000_000
"""Rejects compared with the table's ids at a time."""

_DUPLICATES: Final = f"reason = '{DUPLICATE}' OR reason LIKE '{COPY}%'"
_MARK_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Retry:
    """What is tried again."""

    rows: pa.Table
    """Single documents, by slice and row."""
    whole: np.ndarray
    """Slices that are tried again as a whole, int64, sorted."""
    sources: frozenset[str]
    """URIs of the files that they are in."""

    @classmethod
    def of(cls, rejected: pa.Table, ledger: Ledger) -> Self | None:
        """`rejected` (REJECTS), as far as their slices are finished or whole; others are read again anyway.

        A retry that died may have left some rows of a whole slice among the rejects; the slice is still to be read.
        None if nothing is left.
        """
        finished = np.isin(rejected.column("slice").to_numpy(), ledger.done)
        is_whole = rejected.column("row").to_numpy() < 0
        chosen = rejected.filter(pa.array(finished | is_whole))
        if not chosen.num_rows:
            return None
        single = chosen.filter(pc.field("row") >= 0)
        whole = chosen.filter(pc.field("row") < 0).column("slice").to_numpy()
        return cls(single.select(PLACE), np.unique(whole), frozenset(chosen.column("source").unique().to_pylist()))

    @property
    def slices(self) -> np.ndarray:
        """All slices that are read again, int64, sorted."""
        return np.union1d(self.rows.column("slice").to_numpy(), self.whole)

    def covers(self, keys: pa.Table) -> np.ndarray:
        """For each row of `keys` (slice, row, …) whether it is one that is tried again, bool [n]."""
        return np.isin(keys.column("slice").to_numpy(), self.whole) | is_among(keys, self.rows, PLACE)

    def only(self, table: pa.Table) -> pa.Table:
        """`table` (slice, row, …) without the rows of slices that are read again for the sake of other rows."""
        foreign = np.isin(table.column("slice").to_numpy(), self.slices) & ~self.covers(table)
        return table.filter(pa.array(~foreign)) if foreign.any() else table


def rejects_that_can_pass(location: TableLocation) -> pa.Table:
    """The rejects (REJECTS) that another attempt can turn into documents."""
    return read_rejects(location, ~pc.field("reason").isin(list(FINAL)))


def copy_detail(places: pa.ChunkedArray, marks: pa.ChunkedArray) -> pa.ChunkedArray:
    """What the reject of a copy says: where the original came from, and a mark of the text, by which it is known."""
    return pc.binary_join_element_wise(
        "the same text as ", pc.utf8_slice_codeunits(places, 0, 400), ", mark ", marks, ""
    )


def missing_originals(location: TableLocation, settled_version: int | None = None) -> pa.Table:
    """The rejects (REJECTS) of duplicates whose original the table does not hold.

    Args:
        location: the table.
        settled_version: a version in which none was missing. If no row has left the table since, none is missing now.

    Raises:
        TableError: the storage refused.
    """
    dataset, rejected = open_dataset(location), open_dataset(location.sibling("rejects"))
    if dataset is None or rejected is None:
        return REJECTS.empty_table()
    with storage_errors("read the rejects of", location):
        if not rejected.count_rows(filter=_DUPLICATES):
            return REJECTS.empty_table()
        if settled_version is not None and no_row_has_left(dataset, settled_version):
            return REJECTS.empty_table()
        deleted = read_deleted(location)
        scanner = rejected.scanner(columns=REJECTS.names, filter=_DUPLICATES, batch_size=MAX_ROWS_LOOKED_UP)
        missing = [batch.filter(_is_missing(batch, dataset, deleted)) for batch in scanner.to_batches()]
    return pa.Table.from_batches(missing, schema=REJECTS)


def no_row_has_left(dataset: lance.LanceDataset, version: int) -> bool:
    """Whether the table still has every row of an earlier `version`; False where that cannot be told.

    Compares the counts of rows by data file, so a compaction in between is not seen through.
    """
    if dataset.version == version:
        return True
    try:
        earlier = _rows_by_file(dataset.checkout_version(version))
    except (OSError, ValueError):  # cleaned away
        return False
    now = _rows_by_file(dataset)
    return all(now.get(name) == rows for name, rows in earlier.items())


def _rows_by_file(dataset: lance.LanceDataset) -> dict[str, int]:
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    return {str(fragment.files[0].path): fragment.num_rows for fragment in fragments}


def _is_missing(duplicates: pa.RecordBatch, dataset: lance.LanceDataset, deleted: pa.Table) -> pa.Array:
    """For each of `duplicates` (REJECTS) whether its original is missing, bool [n]."""
    reason = duplicates.column("reason")
    is_copy = pc.starts_with(reason, COPY)
    originals = pc.if_else(is_copy, pc.utf8_slice_codeunits(reason, len(COPY)), duplicates.column("id"))
    held = pc.is_in(originals, value_set=held_rows(dataset, originals).column("id").combine_chunks())
    if pc.any(is_copy).as_py():
        marks = pc.utf8_slice_codeunits(duplicates.column("detail"), -_MARK_LENGTH)
        held = pc.and_(
            held, pc.or_(pc.invert(is_copy), _has_text(dataset, originals.filter(is_copy), originals, marks))
        )
    by_id = pc.is_in(originals, value_set=deleted.column("id").combine_chunks())
    return pc.invert(pc.or_(held, by_id))


def _has_text(dataset: lance.LanceDataset, copied: pa.Array, originals: pa.Array, marks: pa.Array) -> pa.Array:
    """For each of `originals` (ids) whether it has the text of its mark, bool [n]; `copied`: the ids to look at."""
    rows = dataset.to_table(columns=["id", "text"], filter=pc.field("id").isin(copied.unique()))
    present = pc.binary_join_element_wise(rows.column("id"), text_marks(rows.column("text")), " ").combine_chunks()
    return pc.is_in(pc.binary_join_element_wise(originals, marks, " "), value_set=present)
