"""Forgetting documents that the table does not hold any more: their assignments go, in every version.

Done by each refresh, before it counts. Deleting is the one change that is made to assignments; it is done again where a
refresh died in the middle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.store import storage_errors
from pipeline.topics.keys import document_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.topics.keys import Keys
    from pipeline.topics.versions.tables import TopicTables

__all__ = ["forget_departed"]

AT_ONCE: Final = 10_000
"""Ids in one condition."""


def forget_departed(tables: TopicTables, rows: Iterable[pa.RecordBatch], present: Keys) -> int:
    """Remove the assignments of documents that are among the current `rows` (id, slice) and not `present`.

    Returns:
        How many documents that were.

    Raises:
        TableError: nothing can be written there.
    """
    gone = [
        batch.column("id").filter(pa.array(~present.holds(document_keys(batch.column("id"), batch.column("slice")))))
        for batch in rows
    ]
    ids = pa.chunked_array(gone, pa.string()).combine_chunks()
    dataset = tables.open("topic_assignments")
    if dataset is None:
        return 0
    with storage_errors("tidy", tables.location.sibling("topic_assignments")):
        for start in range(0, len(ids), AT_ONCE):
            dataset.delete(pc.field("id").isin(ids.slice(start, AT_ONCE)))
    return len(ids)
