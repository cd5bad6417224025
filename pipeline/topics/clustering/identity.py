"""Topics keep their ids from one fit to the next.

A fresh clustering knows nothing of the last one. Its topics are matched one to one to the last model's, by what they
mean (cosine of centroids) and by whom they hold (Jaccard over the documents that both models saw); a matched topic
goes on under its old id, any other gets an id that was never used. Pure functions on arrays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Event", "EventKind", "Matching", "Overlap", "match_topics"]

EventKind = Literal["born", "continued", "retired", "split", "merged"]

ACCEPT: Final = 0.5
"""Least mean of cosine and Jaccard with which two topics are one."""

PART: Final = 0.25
"""Least share of an old topic that makes what a new topic took from it a split."""

MOST: Final = 0.5
"""A split or merged topic has more than this share of its shared documents in common with one other."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a topic between two models; each topic of either has one event.

    An old topic is continued, merged into `other`, or retired; a new one is continued, split from `other`, or born.
    `overlap` is a Jaccard index, `score` what decided: of a continued topic the mean of cosine and overlap, of one that
    was split or merged the share of its documents that it has in common with `other`.
    """

    kind: EventKind
    topic: int
    other: int | None = None
    overlap: float | None = None
    score: float | None = None

    def to_row(self) -> dict[str, Any]:
        """A row of `pipeline.topics.schema.EVENTS`, but for stamp and time."""
        fields = asdict(self)
        return {"event": fields.pop("kind"), **fields}


@dataclass(frozen=True, slots=True)
class Matching:
    """`ids` int64 [k] for the new topics in their order, the first id still `unused`, and the events."""

    ids: NDArray[np.int64]
    unused: int
    events: tuple[Event, ...]


@dataclass(frozen=True)
class Overlap:
    """How many documents m old and k new topics have in common: `counts` float64 [m + 1, k + 1], outliers last."""

    counts: NDArray[np.float64]

    @classmethod
    def of(cls, old: NDArray[np.int64], new: NDArray[np.int64], old_ids: NDArray[np.int64], new_count: int) -> Overlap:
        """Compare two labelings of the same n documents.

        Args:
            old: int64 [n], each one of `old_ids` or -1.
            new: int64 [n], 0..new_count-1 or -1.
            old_ids: int64 [m], ascending.
            new_count: number of new topics, k.
        """
        row = np.where(np.isin(old, old_ids), np.searchsorted(old_ids, old), len(old_ids))
        cells = row * (new_count + 1) + np.where(new >= 0, new, new_count)
        shape = len(old_ids) + 1, new_count + 1
        return cls(np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64))

    @cached_property
    def jaccard(self) -> NDArray[np.float64]:
        """Size of intersection over size of union, outliers aside: float64 [m, k]."""
        union = self.counts.sum(axis=1, keepdims=True) + self.counts.sum(axis=0, keepdims=True) - self.counts
        return (self.counts / np.maximum(union, 1))[:-1, :-1]

    @cached_property
    def of_old(self) -> NDArray[np.float64]:
        """Share of each old topic's documents that each new topic holds: float64 [m, k]."""
        return (self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1))[:-1, :-1]

    @cached_property
    def of_new(self) -> NDArray[np.float64]:
        """Share of each new topic's shared documents that came from each old topic: float64 [m, k]."""
        return (self.counts / np.maximum(self.counts.sum(axis=0, keepdims=True), 1))[:-1, :-1]


def match_topics(
    old_ids: NDArray[np.int64], overlap: Overlap, cosine: NDArray[np.float64] | None, unused: int
) -> Matching:
    """Match new topics to old ones (Hungarian) and give the rest ids from `unused` upwards.

    Args:
        old_ids: int64 [m], ascending; m may be 0.
        overlap: of the m old and the k new topics.
        cosine: float64 [m, k] of centroids, or None where the two models' vectors are not comparable.
        unused: the first id that no topic ever had.
    """
    from scipy.optimize import linear_sum_assignment

    score = overlap.jaccard if cosine is None else 0.5 * cosine + 0.5 * overlap.jaccard
    rows, columns = linear_sum_assignment(score, maximize=True)
    accepted = score[rows, columns] >= ACCEPT
    rows, columns = rows[accepted], columns[accepted]
    ids = np.full(score.shape[1], -1, dtype=np.int64)
    ids[columns] = old_ids[rows]
    fresh = np.flatnonzero(ids < 0)
    ids[fresh] = unused + np.arange(len(fresh))
    events = [
        Event(
            "continued",
            int(old_ids[row]),
            overlap=float(overlap.jaccard[row, column]),
            score=float(score[row, column]),
        )
        for row, column in zip(rows, columns, strict=True)
    ]
    events += [_end(row, old_ids, ids, overlap) for row in np.flatnonzero(~np.isin(old_ids, ids)).tolist()]
    events += [_beginning(column, old_ids, ids, overlap) for column in fresh.tolist()]
    return Matching(ids, unused + len(fresh), tuple(events))


def _end(row: int, old_ids: NDArray[np.int64], ids: NDArray[np.int64], overlap: Overlap) -> Event:
    """Merged, if most of the old topic at `row` went into one new topic; else retired."""
    shares = overlap.of_old[row]
    column = int(shares.argmax())
    if shares[column] <= MOST:
        return Event("retired", int(old_ids[row]))
    jaccard, share = float(overlap.jaccard[row, column]), float(shares[column])
    return Event("merged", int(old_ids[row]), int(ids[column]), jaccard, share)


def _beginning(column: int, old_ids: NDArray[np.int64], ids: NDArray[np.int64], overlap: Overlap) -> Event:
    """Split, if the new topic at `column` came mostly from one old topic and took a large part of it; else born."""
    shares = overlap.of_new[:, column]
    row = int(shares.argmax()) if len(shares) else -1
    if row < 0 or shares[row] <= MOST or overlap.of_old[row, column] < PART:
        return Event("born", int(ids[column]))
    jaccard, share = float(overlap.jaccard[row, column]), float(shares[row])
    return Event("split", int(ids[column]), int(old_ids[row]), jaccard, share)
