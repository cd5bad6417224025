"""How good the topics are, as figures that are stored with the model. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

__all__ = ["agreement", "diversity", "npmi", "outlier_rate", "stability"]

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


def agreement(labels: NDArray[np.int64], truth: Sequence[Hashable]) -> dict[str, float | None]:
    """How well topics agree with what the documents [n] are known to be; rows where that is null do not count.

    `ami` (adjusted mutual information) and `v_measure` are of the documents in topics, `ami_all` is of all, where those
    in no topic are a group of their own. All are 1 where both sides are the same, and None where nothing is left.
    """
    from sklearn.metrics import adjusted_mutual_info_score, v_measure_score

    known = np.array([value is not None for value in truth], dtype=bool)
    names = np.array([str(value) for value in truth])
    inside = known & (labels >= 0)
    of_topics: tuple[float | None, float | None] = (None, None)
    if inside.any():
        pair = names[inside], labels[inside]
        of_topics = float(adjusted_mutual_info_score(*pair)), float(v_measure_score(*pair))
    of_all = float(adjusted_mutual_info_score(names[known], labels[known])) if known.any() else None
    return {"ami": of_topics[0], "v_measure": of_topics[1], "ami_all": of_all}


def stability(labels: NDArray[np.int64], other: NDArray[np.int64]) -> float | None:
    """Adjusted mutual information of two clusterings of n documents, over those that both put into a topic."""
    from sklearn.metrics import adjusted_mutual_info_score

    both = (labels >= 0) & (other >= 0)
    return float(adjusted_mutual_info_score(labels[both], other[both])) if both.any() else None
