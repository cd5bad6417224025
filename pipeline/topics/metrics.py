"""How good the topics are, as figures that are stored with the model. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["diversity", "npmi", "outlier_rate"]

EPSILON: Final = 1e-12
"""As gensim's ``c_npmi`` has it, so that the figures are comparable."""


def npmi(topics: Sequence[Sequence[str]], texts: Sequence[str]) -> float | None:
    """Document-level NPMI in [-1, 1]: do a topic's words stand in the same documents?

    The mean over the pairs of a topic's words, then over topics: gensim's ``c_npmi`` with whole-document windows.
    None without a topic of two words.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    vocabulary = sorted({word for words in topics for word in words})
    paired = [words for words in topics if len(words) > 1]
    if not paired or not texts:
        return None
    counts = CountVectorizer(vocabulary=vocabulary, binary=True).transform(texts)
    together = (counts.T @ counts).toarray() / len(texts)
    alone = np.diag(together)
    expected = np.maximum(alone[:, None] * alone[None, :], EPSILON)
    scores = np.log((together + EPSILON) / expected) / np.maximum(-np.log(together + EPSILON), EPSILON)
    # Words that stand in every document: 0/0, up to rounding.
    scores = np.clip(scores, -1, 1)
    place = {word: index for index, word in enumerate(vocabulary)}
    return float(np.mean([_pair_mean(scores, [place[word] for word in words]) for words in paired]))


def _pair_mean(scores: NDArray[np.float64], places: list[int]) -> float:
    pairs = np.triu_indices(len(places), k=1)
    return float(scores[np.ix_(places, places)][pairs].mean())


def diversity(topics: Sequence[Sequence[str]]) -> float | None:
    """Share of distinct words among all topics' words: 1.0 where no two topics share one; None without words."""
    words = [word for topic in topics for word in topic]
    return len(set(words)) / len(words) if words else None


def outlier_rate(labels: NDArray[np.int64]) -> float:
    """Share of documents that belong to no topic."""
    return float(np.mean(labels < 0))
