"""What keeps a table in order: repair after drivers that died, and older versions that leave the disk.

*Tidying* is for the holder of the table's lease, while it has nothing staged: runs without an end, rejects that commits
have overtaken, orphans.

*Cleaning* drops older versions, and with them what was deleted, replaced or joined into larger files. Until then a
version is kept for readers that are at work on it, and for people who want to go back. Versions with a tag stay.
Deleted rows are in files of the newest version, too, until these are written again without them. What is staged is
younger than Lance's own limit of a week, or is staged anew (`pipeline.table.companions.journal`).
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pipeline.errors import LeaseError, UsageError
from pipeline.table.companions.journal import staged_files
from pipeline.table.companions.lease import TOPICS_PATIENCE_SECONDS, Lease
from pipeline.table.companions.rejects import drop_overtaken
from pipeline.table.companions.runs import ended_well, mark_interrupted
from pipeline.table.fragments.compaction import drop_deleted
from pipeline.table.fragments.orphans import collect_orphans, orphans
from pipeline.table.location import COMPANIONS
from pipeline.table.store import open_dataset, storage_errors
from pipeline.table.swap import begin_epoch

if TYPE_CHECKING:
    from pipeline.table.location import TableLocation

__all__ = ["Cleaned", "clean", "tidy", "tidy_if_needed"]

MAX_DAYS: Final = 36_500


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


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What went: versions of the table and of its companions, and bytes."""

    versions: int = 0
    bytes: int = 0


def clean(location: TableLocation, run: str, days: float, *, wait: float = 0.0) -> Cleaned:
    """Drop the versions of a table and of its companions that are older than `days` days.

    Under the leases of the table and of its topics, which are read from one version for minutes. Another holder is
    waited for up to `wait` seconds.

    Raises:
        UsageError: no number of days.
        LeaseError: a driver is at work on the table, or somebody on its topics.
        TableError: the storage refused; what has gone is gone, the rest goes with the next call.
    """
    if not 0 <= days <= MAX_DAYS:
        raise UsageError(f"days={days:g}: versions are kept for 0 to {MAX_DAYS:,} days")
    topics = location.sibling("topics")
    with ExitStack() as leases:
        leases.enter_context(Lease(location, run, wait=wait))
        if open_dataset(topics) is not None:
            leases.enter_context(Lease(topics, run, wait=wait, patience=TOPICS_PATIENCE_SECONDS))
        tidy(location, run)
        dataset = open_dataset(location)
        if dataset is not None:
            drop_deleted(location, dataset)
        # Leases clean up after themselves, and are being held.
        companions = [name for name in COMPANIONS if not name.endswith("lease")]
        parts = [_drop(place, days) for place in (location, *map(location.sibling, companions))]
    return Cleaned(sum(part.versions for part in parts), sum(part.bytes for part in parts))


def _drop(location: TableLocation, days: float) -> Cleaned:
    dataset = open_dataset(location)
    if dataset is None:
        return Cleaned()
    with storage_errors("clean", location):
        gone = dataset.cleanup_old_versions(older_than=timedelta(days=days), error_if_tagged_old_versions=False)
    return Cleaned(gone.old_versions, gone.bytes_removed)
