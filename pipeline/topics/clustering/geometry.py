"""Where the topics lie in the full space of the vectors, and which of them a document falls into.

Everything is cosine similarity in the space of the stored vectors: in a reduced basis, directions that a new topic
would bring are already gone. Pure functions on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.errors import TopicError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OUTLIER", "Assigned", "Geometry", "unit_rows"]

OUTLIER: Final = -1
"""The topic id of documents that belong to no topic."""

MAD_FACTOR: Final = 3.0
"""Measured: this floor caught 100 % of the documents of new topics and 0.3 % of those of known ones."""

ROUNDING: Final = 1e-3
"""Slack for float16 vectors, so that a topic of near-copies (MAD 0) does not reject its own documents."""


@dataclass(frozen=True, slots=True)
class Assigned:
    """One row per document: `topic` int64 (-1: rejected), `nearest` int64, `score` and `margin` float32."""

    topic: NDArray[np.int64]
    nearest: NDArray[np.int64]
    score: NDArray[np.float32]
    margin: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Geometry:
    """k topics: `ids` int64 [k], unit `centroids` float32 [k, D], similarity `median` and `mad` float32 [k]."""

    ids: NDArray[np.int64]
    centroids: NDArray[np.float32]
    median: NDArray[np.float32]
    mad: NDArray[np.float32]

    @classmethod
    def of(cls, vectors: NDArray[np.float32], labels: NDArray[np.int64]) -> Geometry:
        """Measure topics 0..k-1, each non-empty, given unit `vectors` [n, D] and `labels` [n] (-1: in none)."""
        members = [vectors[labels == topic] for topic in range(int(labels.max()) + 1)]
        centroids = unit_rows(np.stack([rows.mean(axis=0) for rows in members]))
        similarity = [rows @ centroid for rows, centroid in zip(members, centroids, strict=True)]
        median = np.array([np.median(values) for values in similarity], dtype=np.float32)
        mad = [np.median(np.abs(values - middle)) for values, middle in zip(similarity, median, strict=True)]
        return cls(np.arange(len(members)), centroids, median, np.array(mad, dtype=np.float32))

    @property
    def floor(self) -> NDArray[np.float32]:
        """float32 [k]: the least similarity to its centroid with which a document still belongs to a topic."""
        return self.floor_at(MAD_FACTOR)

    def floor_at(self, mad: float) -> NDArray[np.float32]:
        """The floor `mad` times the MAD below the median, float32 [k]."""
        return (self.median - mad * self.mad - ROUNDING).astype(np.float32)

    def decide(
        self, nearest: NDArray[np.int64], score: NDArray[np.float32], mad: float = MAD_FACTOR
    ) -> NDArray[np.int64]:
        """The topic int64 [n] of documents given their `nearest` topic's id and the similarity to it, both [n].

        Documents whose nearest topic is not among these belong to none.
        """
        order = np.argsort(self.ids)
        at = order[np.minimum(np.searchsorted(self.ids, nearest, sorter=order), len(self.ids) - 1)]
        return np.where((self.ids[at] == nearest) & (score >= self.floor_at(mad)[at]), nearest, OUTLIER)

    def renamed(self, ids: NDArray[np.int64]) -> Geometry:
        """The same topics under other ids."""
        return replace(self, ids=ids)

    def at(self, rows: NDArray[np.intp]) -> Geometry:
        """The topics at `rows` int64 [m] of these, m may be 0."""
        return Geometry(self.ids[rows], self.centroids[rows], self.median[rows], self.mad[rows])

    def __add__(self, other: Geometry) -> Geometry:
        """These topics, then those of `other`."""
        pairs = [(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)]
        return Geometry(*(np.concatenate(pair) for pair in pairs))

    def assign(self, vectors: NDArray[np.float32]) -> Assigned:
        """Put unit `vectors` float32 [n, D] into their nearest topics, or outside all of them.

        `margin` is the distance to the second nearest topic's similarity (to 0 where there is but one).

        Raises:
            TopicError: D is not that of the topics.
        """
        if vectors.shape[1] != self.centroids.shape[1]:
            raise TopicError(f"vectors of {vectors.shape[1]} dimensions, topics of {self.centroids.shape[1]}: fit anew")
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
