"""The geometry of topics: where they lie in the space of the vectors, and which topic a document falls into.

A topic is a centroid and a *floor*: the least cosine similarity with the centroid at which a document belongs to it.
Similarities are those of the stored vectors, since a reduced basis lacks the directions that a new topic would bring.
Pure functions on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.errors import TopicError
from pipeline.topics.schema import OUTLIER

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Assigned", "Geometry", "unit_rows"]

MAD_FACTOR: Final = 3.0
"""The floor is this many MADs (median absolute deviations) below the median similarity.

Measured: it rejected 100 % of the documents of new topics and 0.3 % of those of known ones.
"""

ROUNDING_SLACK: Final = 1e-3
"""Slack for float16 vectors: a topic of near copies (MAD 0) must not reject its own documents."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """The assignments of n documents."""

    topic: NDArray[np.int64]
    """int64 [n]: `nearest` where the document reaches its floor, else `OUTLIER`."""
    nearest: NDArray[np.int64]
    """int64 [n]: the topic with the most similar centroid."""
    score: NDArray[np.float32]
    """float32 [n]: cosine similarity with that centroid."""
    margin: NDArray[np.float32]
    """float32 [n]: how much less similar the second nearest is; with one topic, `score`."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """k topics."""

    ids: NDArray[np.int64]
    """int64 [k]."""
    centroids: NDArray[np.float32]
    """float32 [k, D], unit length."""
    median: NDArray[np.float32]
    """float32 [k]: median similarity of a topic's documents with its centroid."""
    mad: NDArray[np.float32]
    """float32 [k]: median absolute deviation of these similarities."""

    @classmethod
    def of(cls, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> Geometry:
        """Measure topics 0..k-1, none of them empty, from unit `vectors` [n, D] and `labels` [n] (-1: in no topic)."""
        members = [vectors[labels == topic] for topic in range(int(labels.max()) + 1)]
        centroids = unit_rows(np.stack([rows.mean(axis=0) for rows in members]))
        similarity = [rows @ centroid for rows, centroid in zip(members, centroids, strict=True)]
        median = np.array([np.median(values) for values in similarity], dtype=np.float32)
        mad = [np.median(np.abs(values - middle)) for values, middle in zip(similarity, median, strict=True)]
        return cls(np.arange(len(members)), centroids, median, np.array(mad, dtype=np.float32))

    @property
    def floor(self) -> NDArray[np.float32]:
        """float32 [k]: the least similarity with its centroid at which a document belongs to a topic."""
        return self.floor_at(MAD_FACTOR)

    def floor_at(self, mad: float) -> NDArray[np.float32]:
        """float32 [k]: `mad` MADs below the median."""
        return (self.median - mad * self.mad - ROUNDING_SLACK).astype(np.float32)

    def decide(
        self, nearest: NDArray[np.int64], score: NDArray[np.float32], mad: float = MAD_FACTOR
    ) -> NDArray[np.int64]:
        """The topics int64 [n] of documents by their `nearest` topics [n] and their similarities with them [n].

        Documents whose nearest topic is not among these are outliers.
        """
        order = np.argsort(self.ids)
        at = order[np.minimum(np.searchsorted(self.ids, nearest, sorter=order), len(self.ids) - 1)]
        return np.where((self.ids[at] == nearest) & (score >= self.floor_at(mad)[at]), nearest, OUTLIER)

    def renamed(self, ids: NDArray[np.int64]) -> Geometry:
        """The same topics under other ids."""
        return replace(self, ids=ids)

    def at(self, rows: NDArray[np.intp]) -> Geometry:
        """The topics at the positions `rows` int64 [m]; m may be 0."""
        return Geometry(self.ids[rows], self.centroids[rows], self.median[rows], self.mad[rows])

    def __add__(self, other: Geometry) -> Geometry:
        """These topics, then those of `other`."""
        pairs = [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]
        return Geometry(*(np.concatenate(pair) for pair in pairs))

    def assign(self, vectors: NDArray[np.float32]) -> Assigned:
        """Assign unit `vectors` float32 [n, D] to their nearest topics, or to none.

        Raises:
            TopicError: D is not that of the topics.
        """
        if vectors.shape[1] != self.centroids.shape[1]:
            raise TopicError(
                f"vectors of {vectors.shape[1]} dimensions, topics of {self.centroids.shape[1]}: fit again"
            )
        similarity = vectors @ self.centroids.T
        best = similarity.argmax(axis=1)
        rows = np.arange(len(vectors))
        score = similarity[rows, best]
        similarity[rows, best] = -np.inf
        second = similarity.max(axis=1) if len(self.ids) > 1 else np.zeros_like(score)
        topic = np.where(score >= self.floor[best], self.ids[best], OUTLIER)
        return Assigned(topic, self.ids[best], score, (score - second).astype(np.float32))


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of `vectors` [n, D] scaled to length 1; rows of length 0 stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32, copy=False)
