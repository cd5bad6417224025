"""Documents that were deleted for good: what a document that comes again is recognised by.

By its id. An id that was derived from file and row is another document's as soon as a row is inserted before it, so
where the file has other rows the text tells, by a mark of 128 bits. Of tables in chunks or without texts the id is all
that there is. Nothing here belongs to a file or a slice: it stays when its file changes or goes, and when the table is
made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import OTHER_HASH, string_hashes
from pipeline.table.companions.files import read_files
from pipeline.table.companions.upsert import upsert
from pipeline.table.fragments.staging import staged_column
from pipeline.table.schema import DELETED
from pipeline.table.store import read_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["deleted_rows", "read_deleted", "single_row_files", "text_marks", "write_deleted"]

_BY_ID: Final = "a document with this id was deleted for good"
_BY_TEXT: Final = "a document with this text was deleted for good"


def text_marks(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """128 bits of each text as 32 hexadecimal digits, string [n]; null for null."""
    pairs = zip(string_hashes(texts).tolist(), string_hashes(texts, OTHER_HASH).tolist(), strict=True)
    marks = pa.array([f"{first:016x}{second:016x}" for first, second in pairs], pa.string())
    return pc.if_else(pc.is_null(texts), None, marks)


def write_deleted(location: TableLocation, ids: pa.ChunkedArray, marks: pa.ChunkedArray | pa.Array) -> None:
    """Note documents by their ids, and those with a mark of their text by that."""
    key = pc.if_else(pc.is_null(marks), pc.binary_join_element_wise("id", ids, " "), None)
    key = pc.coalesce(key, pc.binary_join_element_wise("text", marks, " "))
    rows = pa.table({"key": key, "id": ids, "text_mark": marks}).group_by("key", use_threads=False)
    distinct = rows.aggregate([("id", "first"), ("text_mark", "first")]).rename_columns(DELETED.names)
    upsert(location.sibling("deleted"), pa.table(distinct.columns, schema=DELETED), ["key"])


def read_deleted(location: TableLocation) -> pa.Table:
    """All deleted documents (DELETED)."""
    return read_all(location.sibling("deleted"), DELETED)


def single_row_files(location: TableLocation, sources: pa.Array) -> pa.Array:
    """Those of `sources` that have one row only, such as text files: the file says which document it is."""
    here = pc.field("uri").isin(sources) & (pc.field("rows") == 1)
    return read_files(location, here).column("uri").combine_chunks()


def deleted_rows(
    location: TableLocation, parts: Sequence[Staged], keys: pa.Table, *, unique_ids: bool
) -> tuple[np.ndarray, pa.Array]:
    """Which staged rows are of documents that were deleted for good, bool [n], and what each one's reject says.

    Args:
        location: the table.
        parts: what is staged.
        keys: the keys of all `parts`, n rows.
        unique_ids: ids were derived from source and row, so that a text tells a document better than its id.
    """
    ids = keys.column("id").combine_chunks()
    deleted = read_deleted(location)
    details = pa.array(np.full(len(ids), _BY_ID), pa.string())
    has_mark = pc.is_valid(deleted.column("text_mark"))
    if not unique_ids or not pc.any(has_mark).as_py():
        return np.asarray(pc.is_in(ids, value_set=deleted.column("id").combine_chunks())), details
    by_id = pc.is_in(ids, value_set=deleted.filter(pc.invert(has_mark)).column("id").combine_chunks())
    texts = pa.chunked_array([chunk for part in parts for chunk in staged_column(location, part, "text").chunks])
    by_text = pc.is_in(text_marks(texts), value_set=deleted.filter(has_mark).column("text_mark").combine_chunks())
    return np.asarray(pc.or_(by_id, by_text)), pc.if_else(by_text, _BY_TEXT, details)
