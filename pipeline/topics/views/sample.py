"""Which documents a map shows, where it cannot show all: by id hash, and some of every topic.

Half of the places go to topics by their size, half to all topics alike: a topic of 30 documents stays visible among a
million, and a large one still looks large. Within a topic the lowest hashes are taken, so that the same documents are
shown again as long as they are there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import TopicError
from pipeline.topics.keys import id_hashes
from pipeline.topics.views.join import BATCH_ROWS, TopicIndex

if TYPE_CHECKING:
    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["Sample", "draw_sample", "quotas"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Documents of a map in hash order: `rows` int64 [n] of the table, id `hashes` uint64 [n], `topic` int64 [n]."""

    rows: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    topic: NDArray[np.int64]


def draw_sample(topics: Topics, dataset: LanceDataset, points: int, mad: float | None = None) -> Sample:
    """Choose at most `points` of the documents that are in the table and that the model knows.

    Raises:
        TopicError: there is none.
    """
    index = TopicIndex.of(topics, mad)
    hashes = _table_hashes(dataset)
    known, topic = index.find(hashes)
    rows = np.flatnonzero(known)
    if not len(rows):
        raise TopicError(f"{topics.tables.location} holds none of the documents of its topic model: fit anew")
    order = np.argsort(hashes[rows], kind="stable")
    rows, topic = rows[order], topic[order]
    kept = _lowest(topic, points)
    return Sample(rows[kept], hashes[rows[kept]], topic[kept])


def quotas(sizes: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """How many documents each group of `sizes` int64 [k] shows, one at least and at most `points` in all."""
    if sizes.sum() <= points:
        return sizes
    alike = np.minimum(sizes, points // (2 * len(sizes)))
    rest = sizes - alike
    shown = alike + rest * (points - alike.sum()) // rest.sum()
    if not shown.any():  # fewer places than groups
        shown[np.flatnonzero(sizes == sizes.max())[-1]] = 1
    return shown


def _lowest(topic: NDArray[np.int64], points: int) -> NDArray[np.int64]:
    """Positions, ascending, of the first documents of each topic, as many as its quota."""
    _, group, sizes = np.unique(topic, return_inverse=True, return_counts=True)
    order = np.argsort(group, kind="stable")
    place = np.arange(len(topic)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[place < np.repeat(quotas(sizes, points), sizes)])


def _table_hashes(dataset: LanceDataset) -> NDArray[np.uint64]:
    batches = dataset.to_batches(columns=["id"], batch_size=BATCH_ROWS)
    return np.concatenate([np.empty(0, np.uint64), *(id_hashes(batch.column("id")) for batch in batches)])
