"""Documents that have left the table: their assignments are deleted, in every version.

Each refresh does this before it counts. It is the only change that is made to assignments. After a refresh that died in
the middle, the next one deletes the rest.
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

__all__ = ["remove_assignments"]

IDS_PER_CONDITION: Final = 10_000
"""Ids in one condition."""


def remove_assignments(tables: TopicTables, rows: Iterable[pa.RecordBatch], present: Keys) -> int:
    """Delete the assignments of documents that are in `rows` and not `present`.

    Args:
        tables: the topic tables.
        rows: the current rows, with id and slice.
        present: the documents of the table.

    Returns:
        How many documents lost their assignments.

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
        for start in range(0, len(ids), IDS_PER_CONDITION):
            dataset.delete(pc.field("id").isin(ids.slice(start, IDS_PER_CONDITION)))
    return len(ids)
