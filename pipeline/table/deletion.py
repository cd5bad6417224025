"""Deleting documents for good.

Tombstones first, then the rows: a crash in between leaves a document that is still there and can be deleted again,
never one that is gone but comes back. The tombstones keep their slices in the ledger and their ids out of commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.rejects import DELETED, write_rejects
from pipeline.table.schema import REJECTS
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["delete_documents"]


def delete_documents(location: TableLocation, dataset: lance.LanceDataset, ids: Sequence[str]) -> int:
    """Remove the documents with these ids; returns how many there were.

    Raises:
        TableError: the storage refused.
    """
    these = pc.field("id").isin(pa.array(list(ids), pa.string()))
    with storage_errors("delete from", location):
        rows = dataset.to_table(columns=["id", "source", "slice", "row"], filter=these)
        if not rows.num_rows:
            return 0
        write_rejects(location, _tombstones(rows))
        dataset.delete(these)
    return rows.num_rows


def _tombstones(rows: pa.Table) -> pa.Table:
    count = rows.num_rows
    text = {"stage": "delete", "reason": DELETED, "detail": "", "run": ""}
    columns = {
        **{name: rows.column(name) for name in ("id", "source", "slice", "row")},
        **{name: pa.array([value] * count, pa.string()) for name, value in text.items()},
        "slice_rows": pa.array(np.zeros(count, np.int32)),
    }
    return pa.table(columns, schema=REJECTS)
