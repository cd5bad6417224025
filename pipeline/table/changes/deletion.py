"""Deleting documents for good.

Tombstones first, then the rows: a crash in between leaves a document that is still there and can be deleted again,
never one that is gone but comes back. The tombstones keep their slices in the ledger and their ids out of commits, also
out of those that bring a newer version of their file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.changes.deleted_documents import marks, only_rows
from pipeline.table.companions.rejects import DELETED, deleted_ids, write_rejects
from pipeline.table.schema import REJECTS, document_column
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["Deleted", "delete_documents"]


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of the ids that were named.

    documents, rows: deleted now; a document in chunks has several rows · before: deleted earlier · unknown: not there.
    """

    documents: int = 0
    rows: int = 0
    before: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def delete_documents(location: TableLocation, dataset: lance.LanceDataset, ids: Sequence[str]) -> Deleted:
    """Remove the documents with these ids; of a document that is stored in chunks, all chunks.

    Raises:
        TableError: the storage refused.
    """
    wanted = pa.array(list(dict.fromkeys(ids)), pa.string())
    document = document_column(dataset.schema)
    these = pc.field(document).isin(wanted)
    with storage_errors("delete from", location):
        texts = ["text"] if document == "id" and "text" in dataset.schema.names else []
        rows = dataset.to_table(columns=[document, "source", "slice", "row", *texts], filter=these)
        rows = rows.rename_columns(["id", *rows.column_names[1:]])
        dead = deleted_ids(location)
        if rows.num_rows:
            write_rejects(location, _tombstones(rows, only_rows(location, rows.column("source").unique())))
            dataset.delete(these)
    found = rows.column("id").unique()
    absent = wanted.filter(pc.invert(pc.is_in(wanted, value_set=found)))
    known = pc.is_in(absent, value_set=dead)
    return Deleted(
        documents=len(found),
        rows=rows.num_rows,
        before=tuple(absent.filter(known).to_pylist()),
        unknown=tuple(absent.filter(pc.invert(known)).to_pylist()),
    )


def _tombstones(rows: pa.Table, single: pa.Array) -> pa.Table:
    """One for each place; the chunks of a document have theirs in common. `single`: files of one row."""
    detail = pa.nulls(rows.num_rows, pa.string())
    if "text" in rows.column_names:
        detail = pc.if_else(pc.is_in(rows.column("source"), value_set=single), None, marks(rows.column("text")))
    names = ["id", "source", "slice", "row"]
    distinct = rows.select(names).append_column("detail", pc.fill_null(detail, "")).group_by([*names, "detail"])
    distinct = distinct.aggregate([])
    count = distinct.num_rows
    text = {"stage": "delete", "reason": DELETED, "run": ""}
    columns = {
        **{name: distinct.column(name) for name in [*names, "detail"]},
        **{name: pa.array([value] * count, pa.string()) for name, value in text.items()},
        "slice_rows": pa.array(np.zeros(count, np.int32)),
    }
    return pa.table({name: columns[name] for name in REJECTS.names}, schema=REJECTS)
