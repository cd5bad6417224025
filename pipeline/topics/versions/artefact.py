"""The artefact of a version: what an operation found, apart from the rows of the topic tables.

    TOKEN.safetensors               the sample and its topics, geometry, vocabulary, word counts
    TOKEN.FRAGMENT.safetensors      word counts of a part of the table, until the operation ends
    words.FINGERPRINT.safetensors   vectors of single words, kept from one fit to the next
    map-TOKEN.safetensors           coordinates of the documents of a map, kept until the next full fit

The files are read and written by `pipeline.topics.tensors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pipeline.topics.clustering.geometry import Geometry
from pipeline.topics.tensors import texts_of_tensors, texts_to_tensors
from pipeline.topics.words.counts import TermCounts, Vocabulary

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.topics.tensors import Tensors

__all__ = ["Artefact", "counts_of_tensors", "counts_to_tensors"]


@dataclass(frozen=True, slots=True)
class Artefact:
    """What an operation found."""

    hashes: NDArray[np.uint64]
    """uint64 [n]: hashes of the clustered documents' ids (`pipeline.columns.string_hashes`), ascending."""
    labels: NDArray[np.int64]
    """int64 [n]: the topics of these documents."""
    geometry: Geometry
    """Where the topics lie."""
    vocabulary: Vocabulary
    """The words that are counted."""
    counts: TermCounts | None = None
    """The word counts over all documents; None until they are complete."""

    def tensors(self) -> Tensors:
        """As named arrays."""
        found: Tensors = {
            "hashes": self.hashes,
            "labels": self.labels,
            "topics": self.geometry.ids,
            "centroids": self.geometry.centroids,
            "median": self.geometry.median,
            "mad": self.geometry.mad,
            "splitting": np.array([self.vocabulary.splitting]),
            **texts_to_tensors("words", self.vocabulary.words),
        }
        if self.counts is not None:
            found |= counts_to_tensors(self.counts)
        return found

    @classmethod
    def of(cls, tensors: Tensors) -> Self:
        """The inverse of `tensors`."""
        # Artefacts without the mark are older than the second rule.
        splitting = int(tensors["splitting"][0]) if "splitting" in tensors else 1
        vocabulary = Vocabulary(tuple(texts_of_tensors("words", tensors)), splitting)
        names = ("topics", "centroids", "median", "mad")
        return cls(
            hashes=tensors["hashes"],
            labels=tensors["labels"],
            geometry=Geometry(*(tensors[name] for name in names)),
            vocabulary=vocabulary,
            counts=counts_of_tensors(tensors, vocabulary),
        )


def counts_to_tensors(counts: TermCounts) -> Tensors:
    """The counts without their vocabulary."""
    matrix = counts.matrix
    return {
        "counts.topics": counts.topics,
        "counts.data": matrix.data,
        "counts.indices": matrix.indices.astype(np.int32),
        "counts.indptr": matrix.indptr.astype(np.int64),
    }


def counts_of_tensors(tensors: Tensors, vocabulary: Vocabulary) -> TermCounts | None:
    """The inverse of `counts_to_tensors`; None where there are no counts."""
    from scipy.sparse import csr_matrix

    if "counts.topics" not in tensors:
        return None
    topics = tensors["counts.topics"]
    parts = (tensors["counts.data"], tensors["counts.indices"], tensors["counts.indptr"])
    return TermCounts(topics, vocabulary, csr_matrix(parts, shape=(len(topics), len(vocabulary.words))))
