"""How a table moves from one version to the next: compare-and-swap, the fence, and the epoch.

A swap names every fragment of the table, so its cost grows with their number: 1.3 s at 5,000, 4.3 s at 20,000 on a
disk (tests/bench/commits.py). The committer spaces its commits accordingly and joins small fragments.

An *epoch* is the run that last took the table over, in the table's configuration. A driver of an earlier one may only
have slept, and finds out here that it must not commit any more.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

import lance
from lance.commit import CommitConflictError

from pipeline.errors import CommitError
from pipeline.table.store import open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lance.fragment import FragmentMetadata

    from pipeline.table.location import TableLocation

__all__ = [
    "begin_epoch",
    "data_file_names",
    "epoch_of",
    "fence",
    "holds",
    "is_conflict",
    "is_superseded",
    "present_fragments",
    "refuse_fenced",
    "swap",
]

logger = logging.getLogger(__name__)

MAX_FENCE_ATTEMPTS: Final = 50
_CONFLICT: Final = re.compile("Incompatible transaction|[Cc]ommit conflict")
_EPOCH: Final = "moee.epoch"


def swap(
    location: TableLocation, dataset: lance.LanceDataset, fragments: Sequence[FragmentMetadata], message: str
) -> bool:
    """Make `fragments`, and no others, the table's if it still is as `dataset` shows it; False if it has moved on.

    Measured: Merge with ``max_retries=0`` conflicts with every concurrent append, merge, rewrite and delete; it passes
    over index builds and configuration changes, which touch no rows.

    Raises:
        TableError: the storage refused, and the fragments are not in the table.
    """
    # The dataset's own lance_schema: a pyarrow schema would number the columns anew.
    operation = lance.LanceOperation.Merge(fragments, dataset.lance_schema)
    with storage_errors("commit to", location):
        try:
            lance.LanceDataset.commit(
                location.uri,
                operation,
                read_version=dataset.version,
                max_retries=0,
                storage_options=dict(location.options) or None,
                commit_message=message,
            )
        except CommitConflictError:
            return False
        except (OSError, ValueError, RuntimeError) as error:
            # The answer may have been lost after the manifest was written.
            new = data_file_names(fragments) - data_file_names(present_fragments(dataset))
            newest = open_dataset(location)
            if newest is None or not new or not holds(newest, new):
                raise
            logger.warning("commit to %s reported a failure but is in place: %s", location, error)
    return True


def present_fragments(dataset: lance.LanceDataset) -> list[FragmentMetadata]:
    """The fragments of a version, as they are."""
    return [fragment.metadata for fragment in dataset.get_fragments()]


def data_file_names(fragments: Iterable[FragmentMetadata]) -> set[str]:
    """The names of their data files, which tell fragments apart: no name is given twice."""
    return {str(file.path) for fragment in fragments for file in fragment.files}


def holds(dataset: lance.LanceDataset, names: set[str]) -> bool:
    """Whether the table names all these data files."""
    return names <= data_file_names(present_fragments(dataset))


def is_conflict(error: Exception) -> bool:
    """Whether a change of a table has met another one; Lance has an exception for some of these cases only."""
    return isinstance(error, CommitConflictError) or _CONFLICT.search(str(error)) is not None


def fence(location: TableLocation, message: str) -> None:
    """Commit a table's fragments on top of themselves: appends, merges and rewrites that were begun before conflict.

    Raises:
        TableError: the storage refused.
        CommitError: others were faster all the time.
    """
    for _ in range(MAX_FENCE_ATTEMPTS):
        dataset = open_dataset(location)
        if dataset is None or swap(location, dataset, present_fragments(dataset), message):
            return
    raise CommitError(f"{location} was changed by others during {MAX_FENCE_ATTEMPTS} attempts to fence it: try again")


def epoch_of(dataset: lance.LanceDataset) -> str:
    """The run that last took the table over; what was staged before it began may be gone."""
    return dataset.config().get(_EPOCH, "")


def begin_epoch(location: TableLocation, run: str, *, only_first: bool = False) -> None:
    """From here on drivers of earlier epochs cannot commit; for the holder of the lease, named `run`.

    `only_first`: begin the first one of a table that was just made; where another run was quicker nothing happens.

    Raises:
        TableError: the storage refused.
    """
    dataset = open_dataset(location)
    if dataset is None or epoch_of(dataset) == run or (only_first and epoch_of(dataset)):
        return
    with storage_errors("fence", location):
        dataset.update_config({_EPOCH: run})


def refuse_fenced(location: TableLocation, dataset: lance.LanceDataset, epoch: str) -> None:
    """Stop a driver from committing what was staged before others collected orphans.

    Raises:
        CommitError: somebody did since `epoch`.
    """
    if epoch_of(dataset) != epoch:
        raise CommitError(
            f"run {epoch_of(dataset)} took {location} over while this run was silent; what it had committed stays: "
            "run the command again"
        )


def is_superseded(location: TableLocation, run: str) -> bool:
    """Whether another run has begun its epoch since `run` did: what `run` still finds out is of no use."""
    dataset = open_dataset(location)
    return dataset is not None and epoch_of(dataset) not in {"", run}
