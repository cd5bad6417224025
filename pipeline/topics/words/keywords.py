"""Keywords: the words of a topic that the embedding model finds closest to it.

The candidates are the topic's best words by c-TF-IDF (`pipeline.topics.words.counts`). They are ordered as in
BERTopic's KeyBERTInspired: by cosine with the mean vector of the topic's most representative documents.
The vectors of documents are in the table. Words are embedded once, and their vectors are kept from one fit to the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, runtime_checkable

import numpy as np

from pipeline.errors import UsageError
from pipeline.topics.clustering.geometry import unit_rows
from pipeline.topics.tensors import read_tensors, texts_of_tensors, texts_to_tensors, write_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipeline.table.location import TableLocation
    from pipeline.topics.words.counts import TermCounts, Weighted

__all__ = ["WORDS_PER_TOPIC", "Embeds", "Encodes", "WordVectors", "embedding", "keywords"]

# The defaults of BERTopic and KeyBERTInspired.
WORDS_PER_TOPIC: Final = 10
"""Words of a list."""
CANDIDATES_PER_TOPIC: Final = 100
"""Words that keywords are chosen from."""
DOCUMENTS_PER_TOPIC: Final = 500
"""Documents that representative ones are chosen from."""
REPRESENTATIVES_PER_TOPIC: Final = 5
"""Representative documents."""

MAX_WORD_VECTORS: Final = 50_000
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
    """The function of `encoder` that embeds texts; it raises UsageError if vectors do not have `dimension`."""

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
    """Vectors of words: from the files beside the table if they are known, else from the encoder.

    Args:
        encoder: embeds words that are not known.
        dimension: D of the table's vectors.
        location: the table.
        fingerprint: what the vectors mean; None: vectors are not kept.
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
        """Unit vectors of `words`, float32 [n, D]; always rounded to float16, as they are kept."""
        missing = [word for word in dict.fromkeys(words) if word not in self._known]
        if missing:
            self._known.update(zip(missing, unit_rows(self._embed(missing)).astype(np.float16), strict=True))
        return np.array([self._known[word] for word in words], dtype=np.float32).reshape(len(words), self._dimension)

    def save(self) -> None:
        """Keep the vectors for the next fit."""
        if self._name and self._known:
            words = sorted(list(self._known)[-MAX_WORD_VECTORS:])
            vectors = np.stack([self._known[word] for word in words])
            write_tensors(self._location, self._name, {**texts_to_tensors("words", words), "vectors": vectors})


def keywords(
    counts: TermCounts,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    topics: NDArray[np.int64],
    words: WordVectors,
) -> dict[int, Weighted]:
    """Topic → the words closest to its representative documents, best first, with their cosines.

    Args:
        counts: word counts of the topics.
        texts: of n documents in hash order; of each topic the first ones are used.
        vectors: float32 [n, D], of the documents, unit length.
        topics: int64 [n], of the documents.
        words: gives vectors of words.
    """
    candidates = counts.top(CANDIDATES_PER_TOPIC)
    words.of(
        sorted({word for best in candidates.values() for word, _ in best})
    )  # all at once: large batches are faster
    found: dict[int, Weighted] = {}
    weights, rows = counts.weights(), {topic: row for row, topic in enumerate(counts.topics.tolist())}
    for topic, best in candidates.items():
        members = np.flatnonzero(topics == topic)[:DOCUMENTS_PER_TOPIC]
        if not best or len(members) == 0:
            found[topic] = ()
            continue
        positions: list[int] = members.tolist()
        bags = counts.bag_weights([texts[row] for row in positions])
        closeness = (bags @ weights[[rows[topic]]].T).toarray().ravel() / _lengths(bags)
        chosen = members[np.argsort(-closeness, kind="stable")[:REPRESENTATIVES_PER_TOPIC]]
        names = [word for word, _ in best]
        cosine = unit_rows(words.of(names)) @ unit_rows(vectors[chosen].mean(axis=0, keepdims=True))[0]
        order = np.argsort(-cosine, kind="stable")[:WORDS_PER_TOPIC]
        found[topic] = tuple((names[at], float(cosine[at])) for at in order)
    return found


def _lengths(rows: object) -> NDArray[np.float64]:
    from scipy.sparse.linalg import norm

    lengths = norm(rows, axis=1)
    return np.where(lengths > 0, lengths, 1)
