"""Duplicates whose holder goes: a document that moved from one file to another must not be lost between the two.

The new place is often read while the table still holds the row of the old one, so it is rejected as a duplicate. When
rows go with their file, exchanged or pruned, such rejects get a reason of their own, which the next plan takes up
without being asked; a run without a limit makes that plan itself at its end. The same holds for copies of a text whose
holder goes, or gets another text. What was deleted for good still counts as a holder.

The reason is written before rows are pruned, and before the last trace of an exchange goes. Writing it again changes
nothing, and written in vain it only means that the document is judged once more.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.companions.rejects import WIDOWED, deleted_ids, write_rejects
from pipeline.table.known.ledger import TWINS, without_holder
from pipeline.table.schema import REJECTS
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["release_twins"]

_CHUNK: Final = 1_000_000
"""Rejects asked about in one pass over the table's ids."""


def release_twins(
    location: TableLocation,
    uris: Iterable[str] = (),
    before: lance.LanceDataset | None = None,
    *,
    leaving: Sequence[str] = (),
) -> int:
    """Give the rejected duplicates of documents that the table does not hold (any more) the reason `WIDOWED`.

    Without such rejects nothing but the reasons is read.

    Args:
        location: the table.
        uris: files that were exchanged, whose documents may have got another text.
        before: the version before that; None: it is not known, so each of their texts counts as another one.
        leaving: files whose rows are about to go, and do not count.

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
        deleted, files = deleted_ids(location), list(uris)
        batches = rejects.scanner(columns=REJECTS.names, filter=TWINS, batch_size=_CHUNK).to_batches()
        rewritten = partial(_rewritten, dataset, before, files) if files else None
        widowed = [batch.filter(without_holder(batch, dataset, deleted, rewritten, leaving)) for batch in batches]
    found = pa.Table.from_batches(widowed, schema=REJECTS)
    reason = pa.array([WIDOWED] * found.num_rows, pa.string())
    write_rejects(location, found.set_column(REJECTS.get_field_index("reason"), "reason", reason))
    return found.num_rows


def _rewritten(now: lance.LanceDataset, before: lance.LanceDataset | None, uris: list[str], ids: pa.Array) -> pa.Array:
    """Those of `ids` that are of documents of some files and have another text than `before`."""
    if not len(ids):  # a table of chunks, or one without texts, knows no copies
        return ids
    here = pc.field("source").isin(uris) & pc.field("id").isin(ids)
    rows = now.to_table(columns=["id", "text"], filter=here)
    if before is None:
        return rows.column("id").combine_chunks()
    old = before.to_table(columns=["id", "text"], filter=here)
    at = pc.index_in(rows.column("id"), value_set=old.column("id").combine_chunks())
    same = pc.equal(rows.column("text"), old.column("text").take(at))
    return rows.filter(pc.invert(pc.fill_null(same, False))).column("id").combine_chunks()
