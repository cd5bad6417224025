"""What the topics are called: the words that set them apart, and those that the embedding model finds closest.

The first list is c-TF-IDF (`pipeline.topics.words.counts`). The second takes its candidates from the first and orders
them as BERTopic's KeyBERTInspired does: by cosine to the mean vector of the topic's most representative documents.
Documents' vectors are in the table; words are embedded once and kept from one fit to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import numpy as np

from pipeline.errors import UsageError
from pipeline.topics.clustering.geometry import unit_rows
from pipeline.topics.versions.artefact import read_tensors, texts_of_tensors, texts_to_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipeline.table.location import TableLocation
    from pipeline.topics.words.counts import TermCounts, Weighted

__all__ = ["WORDS", "Embeds", "Encodes", "WordVectors", "embedding", "keywords"]

WORDS: Final = 10
CANDIDATES: Final = 100
SAMPLED: Final = 500
REPRESENTATIVE: Final = 5
"""BERTopic's and KeyBERTInspired's own: words in a list, and to choose it from; documents that are looked at for each
topic, and those of them that stand for it."""

KEPT: Final = 50_000
"""Words whose vectors are kept: 200 MB at 2048 dimensions."""


@runtime_checkable
class Encodes(Protocol):
    """An encoder: texts → float32 [n, D]."""

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Vectors of `texts`, in their order."""
        ...


@runtime_checkable
class Embeds(Protocol):
    """A BERTopic backend: texts → float32 [n, D]."""

    def embed(self, documents: list[str], verbose: bool = ...) -> NDArray[np.float32]:  # noqa: FBT001  BERTopic's
        """Vectors of `documents`, in their order."""
        ...


def embedding(encoder: Encodes | Embeds, dimension: int) -> Callable[[list[str]], NDArray[np.float32]]:
    """The function of `encoder` that embeds; it raises UsageError where vectors are not of `dimension`."""

    def embed(texts: list[str]) -> NDArray[np.float32]:
        found = encoder.encode(texts) if isinstance(encoder, Encodes) else encoder.embed(texts, verbose=False)
        rows = np.asarray(found, dtype=np.float32)
        if rows.shape != (len(texts), dimension):
            raise UsageError(
                f"the encoder gave vectors of shape {list(rows.shape)} for {len(texts)} texts, the table's have "
                f"{dimension} dimensions: use the encoder that made the table"
            )
        return rows

    return embed


class WordVectors:
    """Vectors of words: from the artefacts of the table where they are known, else from the encoder.

    Args:
        encoder: embeds what is not known.
        dimension: D of the table's vectors.
        location: the table.
        fingerprint: what the vectors mean; None: nothing is kept.
    """

    def __init__(
        self, encoder: Encodes | Embeds, dimension: int, location: TableLocation, fingerprint: str | None
    ) -> None:
        self._embed, self._dimension, self._location = embedding(encoder, dimension), dimension, location
        self._name = f"words.{fingerprint}" if fingerprint and fingerprint.isalnum() else None
        self._known: dict[str, NDArray[np.float16]] = {}
        tensors = read_tensors(location, self._name) if self._name else None
        if tensors is not None and tensors["vectors"].shape[1:] == (dimension,):
            self._known = dict(zip(texts_of_tensors("words", tensors), tensors["vectors"], strict=True))

    def of(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of `words`, float32 [n, D], rounded to float16 whether they were kept or not."""
        missing = [word for word in dict.fromkeys(words) if word not in self._known]
        if missing:
            self._known.update(zip(missing, unit_rows(self._embed(missing)).astype(np.float16), strict=True))
        return np.array([self._known[word] for word in words], dtype=np.float32).reshape(len(words), self._dimension)

    def save(self) -> None:
        """Keep them for the next fit."""
        if self._name and self._known:
            words = sorted(list(self._known)[-KEPT:])
            vectors = np.stack([self._known[word] for word in words])
            write_tensors(self._location, self._name, {**texts_to_tensors("words", words), "vectors": vectors})


def keywords(
    counts: TermCounts,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    topics: NDArray[np.int64],
    words: WordVectors,
) -> dict[int, Weighted]:
    """The words closest to each topic's representative documents, best first, with their cosines.

    Args:
        counts: words of the topics.
        texts: n documents in hash order; the first ones of a topic are looked at.
        vectors: of the documents, unit, float32 [n, D].
        topics: of the documents, int64 [n].
        words: gives vectors of words.
    """
    candidates = counts.top(CANDIDATES)
    words.of(sorted({word for best in candidates.values() for word, _ in best}))  # all at once: batches are quicker
    found: dict[int, Weighted] = {}
    weights, rows = counts.weights(), {topic: row for row, topic in enumerate(counts.topics.tolist())}
    for topic, best in candidates.items():
        members = np.flatnonzero(topics == topic)[:SAMPLED]
        if not best or len(members) == 0:
            found[topic] = ()
            continue
        places: list[int] = members.tolist()
        bags = counts.bag_weights([texts[row] for row in places])
        closeness = (bags @ weights[[rows[topic]]].T).toarray().ravel() / _lengths(bags)
        chosen = members[np.argsort(-closeness, kind="stable")[:REPRESENTATIVE]]
        names = [word for word, _ in best]
        cosine = unit_rows(words.of(names)) @ unit_rows(vectors[chosen].mean(axis=0, keepdims=True))[0]
        order = np.argsort(-cosine, kind="stable")[:WORDS]
        found[topic] = tuple((names[at], float(cosine[at])) for at in order)
    return found


def _lengths(rows: object) -> NDArray[np.float64]:
    from scipy.sparse.linalg import norm

    lengths = norm(rows, axis=1)
    return np.where(lengths > 0, lengths, 1)
