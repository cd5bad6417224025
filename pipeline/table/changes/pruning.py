"""What goes away with an older version of a file, or with the file: its rejects, its record; and its rows, if pruned.

A reject with the reason ``deleted`` is what keeps a document from coming back. It outlives its file: where it would go,
it moves to a place of its own (`_tombstones`), so that the slice it stood in may be filled again.

Pruning is one deletion in the table between two small steps, in an order that any crash leaves in repair:

    1 reopen     the files' records no longer say that they are complete       dies: the next run prunes
    2 twins      of their rows get their reason (`duplicates`)                   dies: these are judged once more
    3 delete     their rows, in one commit                                     dies: the next run prunes
    4 rejects    and what the journal has of them
    5 records    last, because by them the next run would find what is left
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.changes.deleted_documents import is_marked
from pipeline.table.changes.duplicates import release_twins
from pipeline.table.companions.files import drop_older, reopen_older
from pipeline.table.companions.journal import forget_files
from pipeline.table.companions.rejects import DELETED, KILLER, SUSPECT, write_rejects
from pipeline.table.schema import REJECTS
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.table.location import TableLocation

__all__ = ["Pruned", "forget_table", "prune", "retire_rejects"]

_NO_VERSION: Final = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed: files, with their rows and rejects."""

    files: int = 0
    rows: int = 0
    rejects: int = 0


def prune(location: TableLocation, uris: Sequence[str], *, reached: Callable[[str], None] = lambda _: None) -> Pruned:
    """Remove all rows and rejects of the files `uris`, and forget that they were ever there.

    Raises:
        TableError: the storage refused.
    """
    dataset = open_dataset(location)
    if dataset is None or not uris:
        return Pruned()
    of_files = pc.field("source").isin(list(uris))
    gone = dict.fromkeys(uris, _NO_VERSION)
    reopen_older(location, gone)
    reached("reopened")
    release_twins(location, leaving=uris)
    with storage_errors("delete from", location):
        rows = dataset.count_rows(filter=of_files)
        if rows:
            dataset.delete(of_files)
    reached("deleted")
    rejects = retire_rejects(location, of_files)
    forget_files(location, uris)
    reached("rejects retired")
    drop_older(location, gone)
    return Pruned(len(uris), rows, rejects)


def forget_table(location: TableLocation) -> None:
    """Forget what the companions tell of a table that is gone, before another one of the same name is made.

    What was deleted for good stays away, what kills its process stays known. Where there is a table nothing happens.

    Raises:
        TableError: the storage refused.
    """
    if open_dataset(location) is not None:
        return
    for name in ("files", "journal"):
        dataset = open_dataset(location.sibling(name))
        if dataset is not None and dataset.count_rows():
            with storage_errors("write", location.sibling(name)):
                dataset.delete("true")
    retire_rejects(location, (pc.field("source") != "") & ~pc.field("reason").isin([KILLER, SUSPECT]))


def retire_rejects(location: TableLocation, condition: pc.Expression | None) -> int:
    """Remove the rejects for which `condition` holds; returns how many.

    What was deleted for good stays known: ids and texts that no other reject tells of keep theirs, at another place.
    """
    rejects = open_dataset(location.sibling("rejects"))
    if condition is None or rejects is None:
        return 0
    with storage_errors("clean up the rejects of", location):
        count = rejects.count_rows(filter=condition)
        if not count:
            return 0
        is_deleted = pc.field("reason") == DELETED
        deleted = rejects.to_table(columns=REJECTS.names, filter=condition & is_deleted)
        elsewhere = rejects.to_table(columns=["id", "detail"], filter=is_deleted & ~condition)
    write_rejects(location, _tombstones(_lonely(deleted, elsewhere)))
    with storage_errors("clean up the rejects of", location):
        rejects.checkout_latest()
        rejects.delete(condition)
    return count - deleted.num_rows


def _lonely(deleted: pa.Table, others: pa.Table) -> pa.Table:
    """Those of `deleted` of whose text, or of whose id, none of `others` tells; both with id and detail."""
    marked, other_marked = is_marked(deleted), is_marked(others)

    def among(column: str, some: pa.Table) -> pa.ChunkedArray:
        return pc.is_in(deleted.column(column), value_set=some.column(column).combine_chunks())

    by_text = among("detail", others.filter(other_marked))
    by_id = pc.if_else(marked, among("id", others.filter(pc.invert(other_marked))), among("id", others))
    return deleted.filter(pc.invert(pc.or_(by_text, by_id)))


def _tombstones(deleted: pa.Table) -> pa.Table:
    """`deleted` (REJECTS), each id or text once, at places that no file has; without a source: theirs is going."""
    marked = is_marked(deleted)
    details = pc.if_else(marked, deleted.column("detail"), "its file has changed or gone since")
    known_by = pc.if_else(marked, details, deleted.column("id"))
    distinct = pa.table(
        {"known_by": known_by, "id": deleted.column("id"), "detail": details, "run": deleted.column("run")}
    )
    distinct = distinct.group_by("known_by", use_threads=False).aggregate(
        [("id", "first"), ("detail", "first"), ("run", "first")]
    )
    places = [int.from_bytes(blake2b(f"deleted|{name}".encode(), digest_size=8).digest(), "big", signed=True)
              for name in distinct.column("known_by").to_pylist()]  # fmt: skip
    text = {"source": "", "stage": "delete", "reason": DELETED}
    count = distinct.num_rows
    columns = {
        "id": distinct.column("id_first"),
        "detail": distinct.column("detail_first"),
        **{name: pa.array([value] * count, pa.string()) for name, value in text.items()},
        "slice": pa.array(places, pa.int64()),
        "row": pa.array(np.full(count, -1)),
        "run": distinct.column("run_first"),
        "slice_rows": pa.array(np.zeros(count, np.int32)),
    }
    return pa.table({name: columns[name] for name in REJECTS.names}, schema=REJECTS)
