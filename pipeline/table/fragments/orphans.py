"""Orphans: data files that were staged and never committed, left behind by a driver that died or lost a race.

Only the holder of the lease collects, and only while it has nothing staged of its own:

    1 list        files in ``data/`` that the newest version does not name
    2 fence       an epoch in the table's configuration, then a commit that changes nothing but conflicts with whatever
                  was begun before it: appends, merges, rewrites, compactions, by whatever program
    3 look again  what the versions kept (tags among them) and the journal name stays
    4 delete      the rest

Without the fence a driver that slept through the loss of its lease, or a compaction in flight, could commit files that
are gone: Lance does not look, and the table could not be read any more. Their commit meets the conflict; a `Committer`
that would try again sees the epoch and stops. Where there is no orphan nothing is written.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from pipeline.table.store import data_files, open_dataset, storage_errors
from pipeline.table.swap import begin_epoch, data_file_names, fence, present_fragments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.table.location import TableLocation

__all__ = ["collect_orphans", "orphans"]

logger = logging.getLogger(__name__)

_NEVER: Final = timedelta(days=36_500)
_ALL: Final = 1_000_000


def orphans(location: TableLocation, keep: Iterable[str] = ()) -> dict[str, int]:
    """The data files that no version of the table names, nor `keep`: name → bytes.

    Raises:
        TableError: the table cannot be read.
    """
    dataset = open_dataset(location)
    if dataset is None:
        return {}
    with storage_errors("look for orphans of", location):
        if data_file_names(present_fragments(dataset)).issuperset(data_files(location).list()):
            return {}
        # Reads every manifest: 0.6 s for 600 versions of 300 fragments, thirteen times as fast as through Python.
        found: Any = dataset.explain_cleanup_old_versions(
            older_than=_NEVER, delete_unverified=True, include_files=True, max_files=_ALL
        )
    data = [file for file in found.candidate_files if file.kind == "data"]
    sizes = {str(file.path).rpartition("/data/")[2]: int(file.size_bytes) for file in data}
    return {name: size for name, size in sizes.items() if name not in set(keep)}


def collect_orphans(location: TableLocation, run: str, keep: Iterable[str] = ()) -> int:
    """Delete the orphans and return their size in bytes; see above for who may call this, and when.

    Args:
        location: the table.
        run: the run that holds the lease.
        keep: names of staged files that are still to be committed (the journal's).

    Raises:
        TableError: the storage refused; what was not deleted is found again by the next call.
    """
    found = orphans(location, keep)
    if not found:
        return 0
    begin_epoch(location, run)
    fence(location, f"moee {run}: fence")
    still = orphans(location, keep)
    found = {name: size for name, size in found.items() if name in still}
    with storage_errors("collect the orphans of", location):
        session = data_files(location)
        for name in sorted(found):
            session.delete_file(name)
    logger.info("deleted %d files that were staged for %s and never committed", len(found), location)
    return sum(found.values())
