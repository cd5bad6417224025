"""Repair after drivers that died: runs without an end, rejects that commits have overtaken, orphans.

Only for the holder of the table's lease, while it has nothing staged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import LeaseError
from pipeline.table.companions.journal import staged_files
from pipeline.table.companions.lease import Lease
from pipeline.table.companions.rejects import drop_overtaken
from pipeline.table.companions.runs import ended_well, mark_interrupted
from pipeline.table.fragments.orphans import begin_epoch, collect_orphans, orphans
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from pipeline.table.location import TableLocation

__all__ = ["tidy", "tidy_if_needed"]


def tidy(location: TableLocation, run: str) -> int:
    """Tidy up; `run` holds the lease, and from here on no driver of an earlier one can commit.

    Returns:
        The size of the orphans that were deleted, in bytes.

    Raises:
        TableError: the storage refused.
    """
    dataset = open_dataset(location)
    if dataset is None:
        return 0
    begin_epoch(location, run)
    if mark_interrupted(location):
        drop_overtaken(location, dataset)
    return collect_orphans(location, run, staged_files(location))


def tidy_if_needed(location: TableLocation, run: str) -> None:
    """`tidy` under a lease of its own if something was left; not while another driver is at work."""
    if ended_well(location) and not orphans(location, staged_files(location)):
        return
    try:
        with Lease(location, run):
            tidy(location, run)
    except LeaseError:
        return
