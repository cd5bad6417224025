"""Compare-and-swap on a table: add fragments if, and only if, nobody changed its rows in between.

A swap names every fragment of the table, so its cost grows with their number (tests/bench/commits.py); from `MANY` on
`pipeline.table.commit.append` does it in another way.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from lance.fragment import FragmentMetadata

from pipeline.table.commit.append import append
from pipeline.table.fragments.staging import fragment_paths
from pipeline.table.store import commit_fragments, open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["MANY", "holds", "swap"]

logger = logging.getLogger(__name__)

MANY: Final = 5000
"""Fragments from which on rows are appended and audited."""


def swap(
    location: TableLocation,
    dataset: lance.LanceDataset,
    fragments: Sequence[str],
    run: str,
    *,
    present: Sequence[FragmentMetadata] | None = None,
) -> bool:
    """Add `fragments` (JSON) on top of exactly the version that `dataset` shows; False if the table has moved on.

    From `MANY` fragments on it appends and audits, unless the present ones change as well. `present`: what the
    dataset's own fragments become in the same instant; None: they stay as they are.

    Raises:
        TableError: the storage refused, and the fragments are not in the table.
    """
    if present is None:
        there = dataset.get_fragments()
        if len(there) >= MANY:
            return append(location, dataset, fragments, run, f"moee {run}")
        present = [fragment.metadata for fragment in there]
    new = [FragmentMetadata.from_json(fragment) for fragment in fragments]
    with storage_errors("commit to", location):
        try:
            return commit_fragments(location, dataset, [*present, *new], f"moee {run}")
        except (OSError, ValueError, RuntimeError) as error:
            # The answer may have been lost after the manifest was written.
            newest = open_dataset(location)
            if newest is None or not fragments or not holds(newest, fragments):
                raise
            logger.warning("commit to %s reported a failure but is in place: %s", location, error)
    return True


def holds(dataset: lance.LanceDataset, fragments: Sequence[str]) -> bool:
    """Whether the table names the data files of `fragments` (JSON)."""
    wanted = set(fragment_paths(tuple(fragments)))
    return wanted <= {str(file.path) for fragment in dataset.get_fragments() for file in fragment.metadata.files}
