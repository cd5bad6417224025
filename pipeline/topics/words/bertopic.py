"""Topics as a BERTopic model. BERTopic runs in its manual mode, on given topics.

`bertopic` is imported inside functions only: the import takes 10 to 20 seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.errors import TopicError
from pipeline.topics.words.keywords import Embeds, Encodes, embedding
from pipeline.topics.words.splitting import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertopic import BERTopic
    from numpy.typing import NDArray
    from sklearn.feature_extraction.text import CountVectorizer

    from pipeline.topics.clustering.geometry import Geometry

__all__ = ["KEYBERT", "Embeds", "Encodes", "manual_bertopic", "numbers_of"]

KEYBERT: Final = "KeyBERT"
"""Name of the second list of words among BERTopic's aspects."""


def numbers_of(model: BERTopic) -> dict[int, int]:
    """Topic ids that a BERTopic was given → its own numbers, which go by size."""
    mapper: Any = model.topic_mapper_
    return mapper.get_mappings(original_topics=True)


def manual_bertopic(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    geometry: Geometry | None = None,
    encoder: Encodes | Embeds | None = None,
) -> BERTopic:
    """A BERTopic fitted on given topics.

    Args:
        texts: of n documents.
        vectors: float32 [n, D], of the documents.
        labels: int64 [n], their topics; ``topic_mapper_`` maps from these ids.
        geometry: with it, ``transform`` assigns as this package does: by nearest centroid, with rejection.
        encoder: becomes the embedding model; None: there is none.

    Raises:
        TopicError: the texts are empty.
    """
    from bertopic import BERTopic
    from bertopic.dimensionality import BaseDimensionalityReduction
    from bertopic.vectorizers import ClassTfidfTransformer

    model = BERTopic(
        language="multilingual",  # else BERTopic strips all but ASCII before it splits
        embedding_model=None if encoder is None else _backend(encoder, vectors.shape[1]),
        umap_model=BaseDimensionalityReduction(),
        hdbscan_model=_given_clusters(geometry),
        vectorizer_model=_vectorizer(),
        ctfidf_model=ClassTfidfTransformer(),
        verbose=False,
    )
    try:
        return model.fit(list(texts), vectors, y=labels)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        raise TopicError("the documents hold no text: nothing to name topics by") from error


def _vectorizer() -> CountVectorizer:
    """Counts the words of `pipeline.topics.words.splitting`."""
    from sklearn.feature_extraction.text import CountVectorizer

    analyzer: Any = words_of  # scikit-learn's annotation has names of its own analyzers only
    return CountVectorizer(analyzer=analyzer)


def _given_clusters(geometry: Geometry | None) -> Any:
    from bertopic.cluster import BaseCluster

    if geometry is None:
        return BaseCluster()

    class CentroidCluster(BaseCluster):
        """A cluster model with given clusters that assigns new documents by nearest centroid."""

        def predict(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
            return geometry.assign(np.asarray(vectors, dtype=np.float32)).topic

    return CentroidCluster()


def _backend(encoder: Encodes | Embeds, dimension: int) -> Any:
    """`encoder` as a BERTopic backend."""
    from bertopic.backend import BaseEmbedder

    embed = embedding(encoder, dimension)

    class Backend(BaseEmbedder):
        """BERTopic accepts subclasses of its own class only."""

        def embed(
            self,
            documents: list[str],
            verbose: bool = False,  # noqa: FBT001, FBT002  the signature is BERTopic's
        ) -> NDArray[np.float32]:
            del verbose
            return embed(list(documents))

    return Backend()
