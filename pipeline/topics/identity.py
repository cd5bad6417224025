"""Topics keep their ids from one fit to the next.

A fresh clustering knows nothing of the last one. Its topics are matched one to one to the last model's, by what they
mean (cosine of centroids) and by whom they hold (Jaccard over the documents that both models saw); a matched topic
goes on under its old id, any other gets an id that was never used. Pure functions on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Event", "EventKind", "Matching", "jaccard", "match_topics"]

EventKind = Literal["born", "continued", "retired", "split", "merged"]

ACCEPT: Final = 0.5
"""Least mean of cosine and Jaccard with which two topics are one."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a topic between two models; `overlap` is a Jaccard index, `score` what decided."""

    kind: EventKind
    topic: int
    overlap: float | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """`ids` int64 [k] for the new topics in their order, the first id still `unused`, and the events."""

    ids: NDArray[np.int64]
    unused: int
    events: tuple[Event, ...]


def jaccard(
    old: NDArray[np.int64], new: NDArray[np.int64], old_ids: NDArray[np.int64], new_count: int
) -> NDArray[np.float64]:
    """Overlap of old and new topics over the same n documents: float64 [len(old_ids), new_count].

    Args:
        old: int64 [n], each one of `old_ids` or -1.
        new: int64 [n], 0..new_count-1 or -1.
        old_ids: int64 [m], ascending.
        new_count: number of new topics.
    """
    position = np.searchsorted(old_ids, old)
    inside = np.where(np.isin(old, old_ids), position, len(old_ids))
    shared = np.zeros((len(old_ids) + 1, new_count + 1))
    np.add.at(shared, (inside, np.where(new >= 0, new, new_count)), 1)
    old_sizes, new_sizes = shared.sum(axis=1, keepdims=True), shared.sum(axis=0, keepdims=True)
    union = old_sizes + new_sizes - shared
    return (shared / np.maximum(union, 1))[:-1, :-1]


def match_topics(
    old_ids: NDArray[np.int64],
    overlap: NDArray[np.float64],
    cosine: NDArray[np.float64] | None,
    unused: int,
) -> Matching:
    """Match new topics to old ones (Hungarian) and give the rest ids from `unused` upwards.

    Args:
        old_ids: int64 [m]; m may be 0.
        overlap: float64 [m, k], from `jaccard`.
        cosine: float64 [m, k] of centroids, or None where the two models' vectors are not comparable.
        unused: the first id that no topic ever had.
    """
    from scipy.optimize import linear_sum_assignment

    score = overlap if cosine is None else 0.5 * cosine + 0.5 * overlap
    rows, columns = linear_sum_assignment(score, maximize=True)
    accepted = score[rows, columns] >= ACCEPT
    rows, columns = rows[accepted], columns[accepted]
    ids = np.full(score.shape[1], -1, dtype=np.int64)
    ids[columns] = old_ids[rows]
    fresh = np.flatnonzero(ids < 0)
    ids[fresh] = unused + np.arange(len(fresh))
    events = [
        Event("continued", int(old_ids[row]), float(overlap[row, column]), float(score[row, column]))
        for row, column in zip(rows, columns, strict=True)
    ]
    events += [Event("retired", int(topic)) for topic in np.setdiff1d(old_ids, ids)]
    events += [Event("born", int(topic)) for topic in ids[fresh]]
    return Matching(ids, unused + len(fresh), tuple(events))
