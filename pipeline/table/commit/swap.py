"""Compare-and-swap on a table: add fragments if, and only if, nobody changed its rows in between.

A swap names every fragment of the table, so its cost grows with their number: 1.3 s at 5,000, 4.3 s at 20,000 on a
disk (tests/bench/commits.py). The committer spaces its commits accordingly and joins small fragments.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pipeline.table.store import commit_fragments, open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import lance
    from lance.fragment import FragmentMetadata

    from pipeline.table.location import TableLocation

__all__ = ["data_file_names", "holds", "swap"]

logger = logging.getLogger(__name__)


def swap(
    location: TableLocation,
    dataset: lance.LanceDataset,
    fragments: Sequence[FragmentMetadata],
    run: str,
    *,
    present: Sequence[FragmentMetadata] | None = None,
) -> bool:
    """Add `fragments` on top of exactly the version that `dataset` shows; False if the table has moved on.

    `present`: what the dataset's own fragments become in the same instant; None: they stay as they are.

    Raises:
        TableError: the storage refused, and the fragments are not in the table.
    """
    if present is None:
        present = [fragment.metadata for fragment in dataset.get_fragments()]
    with storage_errors("commit to", location):
        try:
            return commit_fragments(location, dataset, [*present, *fragments], f"moee {run}")
        except (OSError, ValueError, RuntimeError) as error:
            # The answer may have been lost after the manifest was written.
            newest = open_dataset(location)
            names = data_file_names(fragments)
            if newest is None or not names or not holds(newest, names):
                raise
            logger.warning("commit to %s reported a failure but is in place: %s", location, error)
    return True


def data_file_names(fragments: Iterable[FragmentMetadata]) -> set[str]:
    """The names of their data files, which tell fragments apart: no name is given twice."""
    return {str(file.path) for fragment in fragments for file in fragment.files}


def holds(dataset: lance.LanceDataset, names: set[str]) -> bool:
    """Whether the table names all these data files."""
    return names <= data_file_names(fragment.metadata for fragment in dataset.get_fragments())
