"""Cleaning: older versions go, and with them, from the disk, what was deleted, exchanged or joined into larger files.

Until then a version is kept for readers that are at work on it, and for whoever wants to go back. Versions with a tag
stay. Deleted rows are in files of the newest version, too, until these are written again without them. What is staged
is younger than Lance's own limit of a week, or is staged anew (`pipeline.table.journal`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from pipeline.errors import UsageError
from pipeline.table.compaction import drop_deleted
from pipeline.table.lease import Lease
from pipeline.table.store import open_dataset, storage_errors, table_names
from pipeline.table.tidy import tidy

if TYPE_CHECKING:
    from pipeline.table.location import TableLocation

__all__ = ["Cleaned", "clean"]

MOST_DAYS: Final = 36_500


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What went: versions of the table and of its companions, and bytes."""

    versions: int = 0
    bytes: int = 0


def clean(location: TableLocation, run: str, days: float) -> Cleaned:
    """Drop the versions of a table and of its companions that are older than `days` days, under the table's lease.

    Raises:
        UsageError: no number of days.
        LeaseError: a driver is at work on the table.
        TableError: the storage refused; what has gone is gone, the rest goes with the next call.
    """
    if not 0 <= days <= MOST_DAYS:
        raise UsageError(f"days={days:g}: versions are kept for 0 to {MOST_DAYS:,} days")
    versions = size = 0
    with Lease(location, run):
        tidy(location, run)
        for name in table_names(location):
            place = location if name == location.name else location.sibling(name.removeprefix(f"{location.name}."))
            if place.name != name:
                continue
            dataset = open_dataset(place)
            if dataset is None:
                continue
            if place is location:
                drop_deleted(location, dataset)
            with storage_errors("clean", place):
                gone = dataset.cleanup_old_versions(older_than=timedelta(days=days), error_if_tagged_old_versions=False)
            versions, size = versions + gone.old_versions, size + gone.bytes_removed
    return Cleaned(versions, size)
