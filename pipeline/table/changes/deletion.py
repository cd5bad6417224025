"""Deleting documents for good.

    1 deleted   `NAME.deleted` says what must not come back        dies: the documents are still there, and refused
    2 slices    that lose their last row are finished without rows dies: the rows are there, and outweigh the marks
    3 rows      go, in one commit

A crash in between leaves a document that is still there and can be deleted again, never one that is gone but comes
back. A slice that keeps other rows gets no mark: should these leave by another way, it is read again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table import steps
from pipeline.table.companions.deleted import read_deleted, single_row_files, text_marks, write_deleted
from pipeline.table.companions.rejects import mark_slices
from pipeline.table.schema import document_column
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["Deleted", "delete_documents"]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of the ids that were named."""

    documents: int = 0
    """Deleted now."""
    rows: int = 0
    """Rows of these; a document in chunks has several."""
    before: tuple[str, ...] = ()
    """Deleted earlier."""
    unknown: tuple[str, ...] = ()
    """Not in the table, and never deleted from it."""


def delete_documents(location: TableLocation, dataset: lance.LanceDataset, ids: Sequence[str]) -> Deleted:
    """Remove the documents with these ids; of a document that is stored in chunks, all chunks.

    Raises:
        TableError: the storage refused.
    """
    wanted = pa.array(list(dict.fromkeys(ids)), pa.string())
    document = document_column(dataset.schema)
    these = pc.field(document).isin(wanted)
    deleted_before = read_deleted(location).column("id").combine_chunks()
    with storage_errors("delete from", location):
        texts = ["text"] if document == "id" and "text" in dataset.schema.names else []
        rows = dataset.to_table(columns=[document, "source", "slice", "row", *texts], filter=these)
        rows = rows.rename_columns(["id", *rows.column_names[1:]])
        if rows.num_rows:
            write_deleted(location, rows.column("id"), _marks(location, rows))
            steps.reached("deleted written")
            mark_slices(location, _emptied(dataset, rows, these), "deleted", "")
            steps.reached("slices marked")
            dataset.delete(these)
    found = rows.column("id").unique()
    absent = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    known = pc.is_in(absent, value_set=deleted_before)
    return Deleted(
        documents=len(found),
        rows=rows.num_rows,
        before=tuple(absent.filter(known).to_pylist()),
        unknown=tuple(absent.filter(pc.invert(known)).to_pylist()),
    )


def _marks(location: TableLocation, rows: pa.Table) -> pa.Array | pa.ChunkedArray:
    """What tells the text of each row, string [n]; null where its id does."""
    if "text" not in rows.column_names:
        return pa.nulls(rows.num_rows, pa.string())
    single = single_row_files(location, rows.column("source").unique())
    return pc.if_else(pc.is_in(rows.column("source"), value_set=single), None, text_marks(rows.column("text")))


def _emptied(dataset: lance.LanceDataset, rows: pa.Table, these: pc.Expression) -> pa.Table:
    """The slices (slice, source) of `rows` of which no row stays."""
    slices = rows.select(["slice", "source"]).group_by("slice").aggregate([("source", "min")])
    slices = slices.rename_columns(["slice", "source"])
    numbers = slices.column("slice").combine_chunks()
    staying = dataset.to_table(columns=["slice"], filter=pc.field("slice").isin(numbers) & ~these).column("slice")
    return slices.filter(pa.array(~np.isin(numbers.to_numpy(), staying.to_numpy())))
