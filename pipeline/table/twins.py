"""Duplicates whose holder goes: a document that moved from one file to another must not be lost between the two.

The new place is often read while the table still holds the row of the old one, so it is rejected as a duplicate. When
rows go with their file, exchanged or pruned, such rejects get a reason of their own, which the next plan takes up
without being asked; a run that has exchanged files makes that plan itself. The reason is written before the last trace
of the removal goes, and writing it again changes nothing: a crash forgets none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from pipeline.table.ledger import TWINS, without_holder
from pipeline.table.rejects import WIDOWED, deleted_ids, write_rejects
from pipeline.table.schema import REJECTS
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from pipeline.table.location import TableLocation

__all__ = ["release_twins"]

_CHUNK: Final = 1_000_000
"""Rejects asked about in one pass over the table's ids."""


def release_twins(location: TableLocation) -> int:
    """Give the rejected duplicates of documents that the table does not hold (any more) the reason `WIDOWED`.

    Without such rejects nothing but the reasons is read.

    Returns:
        How many there were.

    Raises:
        TableError: the storage refused.
    """
    dataset, rejects = open_dataset(location), open_dataset(location.sibling("rejects"))
    if dataset is None or rejects is None:
        return 0
    with storage_errors("read the rejects of", location):
        if not rejects.count_rows(filter=TWINS):
            return 0
        deleted = deleted_ids(location)
        batches = rejects.scanner(columns=REJECTS.names, filter=TWINS, batch_size=_CHUNK).to_batches()
        widowed = [batch.filter(without_holder(batch, dataset, deleted)) for batch in batches]
    found = pa.Table.from_batches(widowed, schema=REJECTS)
    reason = pa.array([WIDOWED] * found.num_rows, pa.string())
    write_rejects(location, found.set_column(REJECTS.get_field_index("reason"), "reason", reason))
    return found.num_rows
