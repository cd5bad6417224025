"""What the topics are called: words from their texts, and BERTopic for those who want to go on with it.

BERTopic is run in manual mode, on topics that are already there: it counts words (c-TF-IDF) and, given an encoder,
ranks them by the embedding model (KeyBERTInspired). The c-TF-IDF words are the topic's words; KeyBERT's are kept as
a second list, because a small embedding model orders single words badly.

`bertopic` is imported inside functions only: the import takes 10 to 20 seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np

from pipeline.errors import TopicError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bertopic import BERTopic
    from numpy.typing import NDArray

    from pipeline.topics.geometry import Geometry

__all__ = [
    "KEYBERT",
    "Embeds",
    "Encodes",
    "TopicWords",
    "clean",
    "describe",
    "language_of",
    "manual_bertopic",
    "numbers_of",
]

KEYBERT: Final = "KeyBERT"
"""Name of the second list of words among BERTopic's aspects."""

WORDS: Final = 10
CANDIDATES: Final = 100
"""BERTopic's and KeyBERTInspired's own numbers of words: in a list, and to choose a list from."""

FOREIGN_LETTERS: Final = 0.01
"""Share of non-ASCII letters above which BERTopic must not strip them, as it does for English."""

Weighted = tuple[tuple[str, float], ...]


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


@dataclass(frozen=True, slots=True)
class TopicWords:
    """A topic's words with their c-TF-IDF weights, and its KeyBERT words (none without an encoder)."""

    words: Weighted
    keywords: Weighted = ()


def describe(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    encoder: Encodes | Embeds | None,
) -> list[TopicWords]:
    """Words for topics 0..k-1 of `labels` int64 [n] over `texts` [n] and their `vectors` float32 [n, D].

    Raises:
        TopicError: the texts hold no words.
        UsageError: the encoder's vectors are not of the table's dimension.
    """
    model = manual_bertopic(texts, vectors, labels, encoder=encoder, keybert=encoder is not None)
    numbers = numbers_of(model)
    words: Any = model.get_topics()
    keywords: Any = model.topic_aspects_.get(KEYBERT, {})
    return [
        TopicWords(_real(words[numbers[topic]]), _real(keywords.get(numbers[topic], ())))
        for topic in range(int(labels.max()) + 1)
    ]


def numbers_of(model: BERTopic) -> dict[int, int]:
    """The ids a BERTopic was given → its own numbers, which go by size."""
    mapper: Any = model.topic_mapper_
    return mapper.get_mappings(original_topics=True)


def _real(weighted: Sequence[tuple[str, float]]) -> Weighted:
    """The best words; BERTopic pads short lists with empty ones."""
    return tuple((word, float(weight)) for word, weight in weighted if word)[:WORDS]


def manual_bertopic(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    geometry: Geometry | None = None,
    encoder: Encodes | Embeds | None = None,
    keybert: bool = False,
) -> BERTopic:
    """A BERTopic fitted on given topics: `labels` int64 [n] are what its ``topic_mapper_`` maps from.

    With a `geometry`, ``transform`` assigns as this package does: by nearest centroid, with rejection.

    Raises:
        TopicError: the texts hold no words.
    """
    from bertopic import BERTopic
    from bertopic.dimensionality import BaseDimensionalityReduction
    from bertopic.representation import KeyBERTInspired
    from bertopic.vectorizers import ClassTfidfTransformer
    from sklearn.feature_extraction.text import CountVectorizer

    # As a second aspect, not as the main one: there BERTopic 0.17.4 takes the vectors of the corpus' first documents
    # for those of the representative ones. An aspect asks the backend, which knows them. All candidates are ranked,
    # because the empty words that pad a short list are ranked among them.
    representation: Any = {KEYBERT: KeyBERTInspired(CANDIDATES, nr_candidate_words=CANDIDATES)} if keybert else None
    model = BERTopic(
        language=language_of(texts),
        embedding_model=None if encoder is None else _backend(encoder, texts, vectors),
        umap_model=BaseDimensionalityReduction(),
        hdbscan_model=_given_clusters(geometry),
        vectorizer_model=CountVectorizer(stop_words="english"),
        ctfidf_model=ClassTfidfTransformer(),
        representation_model=representation,
        verbose=False,
    )
    try:
        return model.fit(list(texts), vectors, y=labels)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise TopicError("the documents hold no words but English stop words: nothing to name topics by") from error


def _given_clusters(geometry: Geometry | None) -> Any:
    from bertopic.cluster import BaseCluster

    if geometry is None:
        return BaseCluster()

    class CentroidCluster(BaseCluster):
        """BERTopic's place for clusters that are already there, and that know where a new document goes."""

        def predict(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            return geometry.assign(np.asarray(vectors, dtype=np.float32)).topic

    return CentroidCluster()


def _backend(encoder: Encodes | Embeds, texts: Sequence[str], vectors: NDArray[np.float32]) -> Any:
    """`encoder` as a BERTopic backend that embeds no string twice, and no document whose vector is known."""
    from bertopic.backend import BaseEmbedder

    embed = _embedding_function(encoder)
    known: dict[str, int] = {text: row for row, text in enumerate(texts)}
    cache: dict[str, NDArray[np.float32]] = {}

    class CachingBackend(BaseEmbedder):
        """Vectors from the table, else from memory, else from the encoder; no text, no direction."""

        def embed(
            self,
            documents: list[str],
            verbose: bool = False,  # noqa: FBT001, FBT002  the signature is BERTopic's
        ) -> NDArray[np.float32]:
            del verbose
            cache.setdefault("", np.zeros(vectors.shape[1], dtype=np.float32))
            missing = [text for text in dict.fromkeys(documents) if text not in known and text not in cache]
            if missing:
                cache.update(zip(missing, _checked(embed(missing), len(missing), vectors.shape[1]), strict=True))
            return np.stack([vectors[known[text]] if text in known else cache[text] for text in documents])

    return CachingBackend()


def _embedding_function(encoder: Encodes | Embeds) -> Callable[[list[str]], NDArray[np.float32]]:
    if isinstance(encoder, Encodes):
        return encoder.encode
    return lambda texts: encoder.embed(texts, verbose=False)


def _checked(rows: NDArray[np.float32], count: int, dimension: int) -> NDArray[np.float32]:
    rows = np.asarray(rows, dtype=np.float32)
    if rows.shape != (count, dimension):
        raise UsageError(
            f"the encoder gave vectors of shape {list(rows.shape)} for {count} texts, the table's have {dimension} "
            "dimensions: use the encoder that made the table"
        )
    return rows


def language_of(texts: Sequence[str]) -> str:
    """What BERTopic is to be told: ``english`` makes it strip all but ASCII letters and digits from the texts."""
    letters = [character for text in texts[:1000] for character in text[:1000] if character.isalpha()]
    foreign = sum(not character.isascii() for character in letters)
    return "multilingual" if foreign > FOREIGN_LETTERS * len(letters) else "english"


def clean(texts: Sequence[str], language: str) -> list[str]:
    """Texts as BERTopic hands them to the vectorizer, so that figures over its words count the same words."""
    spaced = [re.sub(r"[\n\t]", " ", text) for text in texts]
    if language == "english":
        return [re.sub(r"[^A-Za-z0-9 ]+", "", text) for text in spaced]
    return spaced
