"""Tombstones, the rejects that keep deleted documents away: by what a document that comes again is known.

By its id. An id that was derived from file and row (`unique_ids`) is another document's as soon as a row is inserted
before it, so where the file has other rows the tombstone says what the text was, as a `mark` of 128 bits, and that
counts instead. Of tables in chunks or without texts the id is all that there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.companions.files import read_files
from pipeline.table.companions.rejects import DELETED
from pipeline.table.fragments.staging import staged_column
from pipeline.table.known.texts import OTHER_KEY, text_hashes
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["dead_rows", "is_marked", "marks", "only_rows"]

_MARK: Final = "its text was "
_BY_ID: Final = "a document with this id was deleted for good"


def marks(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """What tells each text from all others, as the ``detail`` of a reject, string [n]."""
    pairs = zip(text_hashes(texts).tolist(), text_hashes(texts, OTHER_KEY).tolist(), strict=True)
    return pa.array([f"{_MARK}{first:016x}{second:016x}" for first, second in pairs], pa.string())


def is_marked(tombstones: pa.Table) -> pa.ChunkedArray:
    """Which of some tombstones (detail) say what the text was, bool [n]."""
    return pc.fill_null(pc.starts_with(tombstones.column("detail"), _MARK), False)


def only_rows(location: TableLocation, sources: pa.Array) -> pa.Array:
    """Those of `sources` that have one row only, such as text files: the row's place says which document it is."""
    here = pc.field("uri").isin(sources) & (pc.field("rows") == 1)
    return read_files(location, here).column("uri").combine_chunks()


def dead_rows(
    location: TableLocation, parts: Sequence[Staged], keys: pa.Table, *, unique_ids: bool
) -> tuple[np.ndarray, pa.Array]:
    """Which staged rows are of documents that were deleted for good, bool [n], and what each one's reject says.

    Args:
        location: the table.
        parts: what is staged.
        keys: the keys of all `parts`, n rows.
        unique_ids: ids were derived from source and row.
    """
    ids = keys.column("id").combine_chunks()
    details = pa.array(np.full(len(ids), _BY_ID), pa.string())
    rejects = open_dataset(location.sibling("rejects"))
    if rejects is None:
        return np.zeros(len(ids), bool), details
    with storage_errors("read the rejects of", location):
        known = rejects.to_table(columns=["id", "detail"], filter=pc.field("reason") == pc.scalar(DELETED))
    marked = is_marked(known)
    if not unique_ids or not pc.any(marked).as_py():
        return np.asarray(pc.is_in(ids, value_set=known.column("id").combine_chunks())), details
    by_id = pc.is_in(ids, value_set=known.filter(pc.invert(marked)).column("id").combine_chunks())
    texts = pa.chunked_array([chunk for part in parts for chunk in staged_column(location, part, "text").chunks])
    own = marks(texts)
    by_text = pc.is_in(own, value_set=known.filter(marked).column("detail").combine_chunks())
    return np.asarray(pc.or_(by_id, by_text)), pc.if_else(by_text, own, details)
