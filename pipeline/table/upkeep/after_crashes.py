"""Tidying up what drivers that died have left: appends nobody audited, runs without an end, overtaken rejects, orphans.

Only for the holder of the table's lease, while it has nothing staged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import LeaseError
from pipeline.table.changes.duplicates import release_twins
from pipeline.table.commit.append import owed, settle
from pipeline.table.companions.journal import staged_files
from pipeline.table.companions.lease import Lease
from pipeline.table.companions.rejects import drop_stale
from pipeline.table.companions.runs import ended_well, mark_interrupted
from pipeline.table.fragments.orphans import collect_orphans, orphans
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from pipeline.table.location import TableLocation

__all__ = ["tidy", "tidy_if_needed"]


def tidy(location: TableLocation, run: str) -> bool:
    """Tidy up; `run` holds the lease.

    Returns:
        Whether rejected duplicates turned out to have lost their twin: there is something to embed.

    Raises:
        TableError: the storage refused.
    """
    dataset = open_dataset(location)
    if dataset is None:
        return False
    if settle(location, run):
        dataset.checkout_latest()
    if mark_interrupted(location):
        drop_stale(location, dataset)
    released = 0 if ended_well(location) else release_twins(location)
    collect_orphans(location, run, staged_files(location))
    return released > 0


def tidy_if_needed(location: TableLocation, run: str) -> bool:
    """`tidy` under a lease of its own if something was left; not while another driver is at work."""
    left = not ended_well(location) or owed(location) or orphans(location, staged_files(location))
    if not left:
        return False
    try:
        with Lease(location, run):
            return tidy(location, run)
    except LeaseError:
        return False
