"""Documents that were deleted for good: what a document that comes again is recognised by.

By its id. An id that was derived from file and row is another document's as soon as a row is inserted before it, so
where the file has other rows the text tells, by a mark of 128 bits. Of tables in chunks or without texts the id is all
that there is. Nothing here belongs to a file or a slice: it stays when its file changes or goes, and when the table is
made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import OTHER_HASH, string_hashes
from pipeline.table.companions.upsert import upsert
from pipeline.table.schema import DELETED
from pipeline.table.store import read_all

if TYPE_CHECKING:
    from pipeline.table.location import TableLocation

__all__ = ["read_deleted", "text_marks", "write_deleted"]


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
