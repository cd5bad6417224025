"""Duplicates whose original has gone: a document that moved from one file to another must not be lost between the two.

The new place is often read while the table still holds the row of the old one, so the document is rejected there as a
duplicate. When the old row then leaves the table with its file, the reject must be tried again. The same holds for a
copy whose original leaves, gets another text, or was itself refused after all.

Nothing of this is stored: whether the original is there is asked of the table (`missing_originals`), in every plan and
at the end of a run. A document that was deleted for good still counts as an original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.rejects import COPY, DUPLICATE, REJECTS
from pipeline.table.companions.deleted import read_deleted, text_marks
from pipeline.table.known.ledger import held_ids
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    import lance

    from pipeline.table.location import TableLocation

__all__ = ["copy_detail", "missing_originals", "no_row_has_left"]

MAX_ROWS_LOOKED_UP: Final = 1_000_000
"""Rejects compared with the table's ids at a time."""

_DUPLICATES: Final = f"reason = '{DUPLICATE}' OR reason LIKE '{COPY}%'"
_MARK_LENGTH: Final = 32


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
    held = pc.is_in(originals, value_set=held_ids(dataset, originals))
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
