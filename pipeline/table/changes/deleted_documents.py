"""Which staged rows are documents that were deleted for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.companions.deleted import read_deleted, text_marks
from pipeline.table.companions.files import read_files
from pipeline.table.fragments.staging import staged_column

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["deleted_rows", "single_row_files"]

_BY_ID: Final = "a document with this id was deleted for good"
_BY_TEXT: Final = "a document with this text was deleted for good"


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
