"""The sample of documents that a map shows: some of every topic, lowest id hashes first.

Half of the sample is divided by the topics' sizes, half equally. So a topic of 30 documents stays visible among a
million, and a large one still looks large. The lowest hashes of a topic are taken, so that the same documents are shown
again as long as they are in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.columns import string_hashes
from pipeline.errors import TopicError
from pipeline.topics.versions.join import BATCH_ROWS, TopicIndex

if TYPE_CHECKING:
    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["Sample", "draw_sample", "quotas"]


@dataclass(frozen=True, slots=True)
class Sample:
    """n documents in hash order."""

    rows: NDArray[np.int64]
    """int64 [n]: row numbers of the table."""
    hashes: NDArray[np.uint64]
    """uint64 [n]: hashes of the ids, ascending."""
    topic: NDArray[np.int64]
    """int64 [n]; -1: in none."""


def draw_sample(topics: Topics, dataset: LanceDataset, points: int, mad: float | None = None) -> Sample:
    """Choose up to `points` documents that are in the table and have an assignment.

    Raises:
        TopicError: there are none.
    """
    index = TopicIndex.of(topics, mad)
    hashes = _table_hashes(dataset)
    known, topic = index.find(hashes)
    rows = np.flatnonzero(known)
    if not len(rows):
        raise TopicError(f"{topics.tables.location} holds none of the documents of its topic model: fit again")
    order = np.argsort(hashes[rows], kind="stable")
    rows, topic = rows[order], topic[order]
    kept = _lowest(topic, points)
    return Sample(rows[kept], hashes[rows[kept]], topic[kept])


def quotas(sizes: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """How many documents to show of each group of `sizes` int64 [k]: together from 1 up to `points`."""
    if sizes.sum() <= points:
        return sizes
    equal = np.minimum(sizes, points // (2 * len(sizes)))
    rest = sizes - equal
    shown = equal + rest * (points - equal.sum()) // rest.sum()
    if not shown.any():  # fewer points than groups
        shown[np.flatnonzero(sizes == sizes.max())[-1]] = 1
    return shown


def _lowest(topic: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """Positions of the first documents of each topic, up to its quota; ascending."""
    _, group, sizes = np.unique(topic, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    rank = np.arange(len(topic)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < np.repeat(quotas(sizes, points), sizes)])


def _table_hashes(dataset: LanceDataset) -> NDArray[np.uint64]:
    batches = dataset.to_batches(columns=["id"], batch_size=BATCH_ROWS)
    return np.concatenate([np.empty(0, np.uint64), *(string_hashes(batch.column("id")) for batch in batches)])
