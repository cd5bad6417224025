"""What goes away with a file, or with an older version of it: rows, if pruned; its marks, rejects and record.

Pruning is one deletion in the table between small steps, in an order that any crash leaves in repair:

    1 reopen     the files' records no longer say that they are complete       dies: the next run prunes
    2 delete     their rows, in one commit                                     dies: the next run prunes
    3 marks      of their slices                                               dies: the next run prunes
    4 rejects    and what the journal has of them                              dies: the next run prunes
    5 records    last, because by them the next run would find what is left

Marks go before rejects: a file that comes back in between is then read again, and not taken for rejected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from pipeline.rejects import KILLED_ONCE, KILLER
from pipeline.table import steps
from pipeline.table.companions.files import drop_older, reopen_older
from pipeline.table.companions.journal import forget_files
from pipeline.table.companions.rejects import refuse_first_layout, remove_rejects
from pipeline.table.companions.upsert import delete_rows
from pipeline.table.store import open_dataset, storage_errors
from pipeline.table.swap import fence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.location import TableLocation

__all__ = ["Pruned", "forget_table", "prune"]

_NO_VERSION: Final = ""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed."""

    files: int = 0
    rows: int = 0
    rejects: int = 0


def prune(location: TableLocation, uris: Sequence[str]) -> Pruned:
    """Remove all rows and rejects of the files `uris`, and forget that they were ever there.

    Raises:
        TableError: the storage refused.
    """
    dataset = open_dataset(location)
    if dataset is None or not uris:
        return Pruned()
    # What a driver that slept is just committing lands before the rows are deleted, or not at all.
    fence(location, "moee prune: fence")
    dataset.checkout_latest()
    of_files = pc.field("source").isin(list(uris))
    no_version = dict.fromkeys(uris, _NO_VERSION)
    reopen_older(location, no_version)
    steps.reached("reopened")
    with storage_errors("delete from", location):
        rows = dataset.count_rows(filter=of_files)
        if rows:
            dataset.delete(of_files)
    steps.reached("deleted")
    rejects = remove_rejects(location, of_files)
    forget_files(location, uris)
    steps.reached("rejects removed")
    drop_older(location, no_version)
    return Pruned(len(uris), rows, rejects)


def forget_table(location: TableLocation) -> None:
    """Forget what the companions tell of a table that is gone, before another one of the same name is made.

    What was deleted for good stays away, what kills its process stays known. Where there is a table nothing happens.

    Raises:
        TableError: the storage refused, or the companions are of the first layout.
    """
    if open_dataset(location) is not None:
        return
    refuse_first_layout(location)
    everything = pc.scalar(True)
    for name in ("slices", "files", "journal"):
        delete_rows(location.sibling(name), everything)
    delete_rows(location.sibling("rejects"), ~pc.field("reason").isin([KILLER, KILLED_ONCE]))
