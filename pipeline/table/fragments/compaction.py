"""Compaction: many small fragments become few large ones, so that scans, commits and index builds stay quick.

Rows, their slices and their order stay, so the ledger knows as much as before. A commit that meets a compaction is
tried again on the new version, and a compaction that meets a commit leaves its part for the next time. Fragments that
were replaced stay in older versions until these are cleaned away.

Memory is bounded by `_BATCH_ROWS` rows a thread, whatever fragments hold: with Lance's defaults wide vectors have run
machines out of memory. The work is done in passes, each of which is a version of its own.
"""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, Final

from lance.optimize import Compaction

from pipeline.table.store import storage_errors
from pipeline.table.swap import is_conflict

if TYPE_CHECKING:
    import lance

    from pipeline.table.location import TableLocation

__all__ = ["MAX_FRAGMENTS", "MAX_SMALL_FRAGMENTS", "compact", "drop_deleted", "join_some"]

logger = logging.getLogger(__name__)

MAX_SMALL_FRAGMENTS: Final = 64
"""Small fragments that are left alone."""

MAX_FRAGMENTS: Final = 5000
"""Fragments from which on a run joins small ones between its commits: a swap then takes more than a second."""

TARGET_ROWS: Final = 1 << 20
_BATCH_ROWS: Final = 1024
_THREADS: Final = 2
_PASS_TASKS: Final = 4
"""Tasks in a pass, each of which makes one fragment."""


def compact(location: TableLocation, dataset: lance.LanceDataset, *, few: int = MAX_SMALL_FRAGMENTS) -> int:
    """Join the small fragments of a table where it has more than `few`; returns how many fragments there are fewer.

    `dataset` shows the result.

    Raises:
        TableError: the storage refused; what earlier passes have done stays.
    """
    before = len(dataset.get_fragments())
    with storage_errors("compact", location):
        while dataset.stats.dataset_stats(max_rows_per_group=TARGET_ROWS)["num_small_files"] > few:
            if not _pass(location, dataset):
                break
    after = len(dataset.get_fragments())
    if after < before:
        logger.info("compacted %s: %d fragments became %d", location, before, after)
    return before - after


def join_some(location: TableLocation, dataset: lance.LanceDataset) -> None:
    """Join some small fragments, in bounded time and memory; `dataset` shows the result.

    Raises:
        TableError: the storage refused.
    """
    with storage_errors("compact", location):
        _pass(location, dataset)


def drop_deleted(location: TableLocation, dataset: lance.LanceDataset) -> None:
    """Write fragments that hold deleted rows again without them; `dataset` shows the result.

    Raises:
        TableError: the storage refused; what earlier passes have done stays.
    """
    with storage_errors("compact", location):
        while dataset.stats.dataset_stats()["num_deleted_rows"]:
            if not _pass(location, dataset, most_deleted=0.0):
                break


def _pass(location: TableLocation, dataset: lance.LanceDataset, *, most_deleted: float = 0.1) -> bool:
    """Rewrite some small fragments and some of which more than `most_deleted` (0 to 1) is deleted; whether to go on.

    Lance's own bounds on a pass (``max_source_fragments``) leave out a task that is larger, forever. So its plan is
    made here, and its first tasks are done: one at least, of up to `TARGET_ROWS` rows.
    """
    options: Any = {
        "target_rows_per_fragment": TARGET_ROWS,
        "num_threads": _THREADS,
        "batch_size": _BATCH_ROWS,
        "materialize_deletions_threshold": most_deleted,
    }
    plan = Compaction.plan(dataset, options=options)
    chosen = list(itertools.islice(plan.tasks, _PASS_TASKS))
    if not chosen:
        return False
    try:
        Compaction.commit(dataset, [task.execute(dataset) for task in chosen])
    except OSError as error:
        if not is_conflict(error):
            raise
        logger.info("compaction of %s met another change and leaves the rest: %s", location, error)
        return False
    dataset.checkout_latest()
    return True
