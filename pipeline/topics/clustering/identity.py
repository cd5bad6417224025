"""Topics keep their ids from one fit to the next.

New topics are matched one to one to the last model's, by their meaning (cosine of centroids) and by their documents
(Jaccard index over the documents that both models know). A matched topic keeps its old id. Any other topic gets an id
that was never used. Pure functions on arrays.
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

MIN_MATCH_SCORE: Final = 0.5
"""Least mean of cosine and Jaccard index at which an old and a new topic are the same."""

MIN_SPLIT_SHARE: Final = 0.25
"""A new topic is split from an old one if it holds at least this share of the old topic's documents."""

MAJORITY_SHARE: Final = 0.5
"""A split or merged topic shares more than this part of its documents with the other topic."""


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a topic between two models; each topic of either has one event."""

    kind: EventKind
    """An old topic is continued, merged or retired; a new one is continued, split or born."""
    topic: int
    """Its id."""
    other: int | None = None
    """The topic that it was merged into, or split from."""
    overlap: float | None = None
    """Jaccard index of the documents of both."""
    score: float | None = None
    """What decided: mean of cosine and `overlap` (continued), or share of its documents in `other` (split, merged)."""

    def to_row(self) -> dict[str, Any]:
        """A row of `pipeline.topics.schema.EVENTS`, without stamp and time."""
        fields = asdict(self)
        return {"event": fields.pop("kind"), **fields}


@dataclass(frozen=True, slots=True)
class Matching:
    """The result of matching k new topics."""

    ids: NDArray[np.int64]
    """int64 [k]: ids of the new topics, in their order."""
    unused: int
    """The first id that no topic ever had."""
    events: tuple[Event, ...]
    """One for each topic of either model."""


@dataclass(frozen=True)
class Overlap:
    """How many documents m old and k new topics have in common."""

    counts: NDArray[np.float64]
    """float64 [m + 1, k + 1]; outliers are the last row and column."""

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
        """Share of each new topic's documents that came from each old topic: float64 [m, k]."""
        return (self.counts / np.maximum(self.counts.sum(axis=0, keepdims=True), 1))[:-1, :-1]


def match_topics(
    old_ids: NDArray[np.int64], overlap: Overlap, cosine: NDArray[np.float64] | None, unused: int
) -> Matching:
    """Match new topics to old ones by the best sum of scores (Hungarian method); the others get unused ids.

    Args:
        old_ids: int64 [m], ascending; m may be 0.
        overlap: of the m old and the k new topics.
        cosine: float64 [m, k] of centroids; None: the vectors of the two models are not comparable.
        unused: the first id that no topic ever had.
    """
    from scipy.optimize import linear_sum_assignment

    score = overlap.jaccard if cosine is None else 0.5 * cosine + 0.5 * overlap.jaccard
    rows, columns = linear_sum_assignment(score, maximize=True)
    accepted = score[rows, columns] >= MIN_MATCH_SCORE
    rows, columns = rows[accepted], columns[accepted]
    ids = np.full(score.shape[1], -1, dtype=np.int64)
    ids[columns] = old_ids[rows]
    unmatched = np.flatnonzero(ids < 0)
    ids[unmatched] = unused + np.arange(len(unmatched))
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
    events += [_beginning(column, old_ids, ids, overlap) for column in unmatched.tolist()]
    return Matching(ids, unused + len(unmatched), tuple(events))


def _end(row: int, old_ids: NDArray[np.int64], ids: NDArray[np.int64], overlap: Overlap) -> Event:
    """The event of the old topic at `row`: merged if most of it went into one new topic, else retired."""
    shares = overlap.of_old[row]
    column = int(shares.argmax())
    if shares[column] <= MAJORITY_SHARE:
        return Event("retired", int(old_ids[row]))
    jaccard, share = float(overlap.jaccard[row, column]), float(shares[column])
    return Event("merged", int(old_ids[row]), int(ids[column]), jaccard, share)


def _beginning(column: int, old_ids: NDArray[np.int64], ids: NDArray[np.int64], overlap: Overlap) -> Event:
    """The event of the new topic at `column`: split if it is mostly, and much, of one old topic, else born."""
    shares = overlap.of_new[:, column]
    row = int(shares.argmax()) if len(shares) else -1
    if row < 0 or shares[row] <= MAJORITY_SHARE or overlap.of_old[row, column] < MIN_SPLIT_SHARE:
        return Event("born", int(ids[column]))
    jaccard, share = float(overlap.jaccard[row, column]), float(shares[row])
    return Event("split", int(ids[column]), int(old_ids[row]), jaccard, share)
