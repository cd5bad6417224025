"""Quality figures of topics, which are stored with the model. Pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

__all__ = ["agreement", "diversity", "npmi", "outlier_rate", "stability"]

EPSILON: Final = 1e-12
"""The same as in gensim's ``c_npmi``, so that the figures are comparable."""


def npmi(topics: Sequence[Sequence[str]], vocabulary: Sequence[str], counts: csr_matrix) -> float | None:
    """Document-level NPMI in [-1, 1]: do a topic's words stand in the same documents?

    The mean over the pairs of a topic's words, then over topics: gensim's ``c_npmi`` with whole-document windows.
    None without a topic of two words.

    Args:
        topics: the words of each.
        vocabulary: the m words of all topics.
        counts: [n, m], how often each of n documents holds each word.
    """
    paired = [words for words in topics if len(words) > 1]
    if not paired:
        return None
    holds: Any = (counts > 0).astype(np.int64)
    documents = holds.shape[0]
    together = (holds.T @ holds).toarray() / documents
    alone = np.diag(together)
    expected = np.maximum(alone[:, None] * alone[None, :], EPSILON)
    scores = np.log((together + EPSILON) / expected) / np.maximum(-np.log(together + EPSILON), EPSILON)
    # A pair that stands in every document gives 0/0, up to rounding.
    scores = np.clip(scores, -1, 1)
    position = {word: index for index, word in enumerate(vocabulary)}
    return float(np.mean([_pair_mean(scores, [position[word] for word in words]) for words in paired]))


def _pair_mean(scores: NDArray[np.float64], rows: list[int]) -> float:
    """The mean score of the pairs of `rows`."""
    pairs = np.triu_indices(len(rows), k=1)
    return float(scores[np.ix_(rows, rows)][pairs].mean())


def diversity(topics: Sequence[Sequence[str]]) -> float | None:
    """Share of distinct words among all topics' words: 1.0 where no two topics share one; None without words."""
    words = [word for topic in topics for word in topic]
    return len(set(words)) / len(words) if words else None


def outlier_rate(labels: NDArray[np.int64]) -> float:
    """Share of documents that belong to no topic."""
    return float(np.mean(labels < 0))


def agreement(labels: NDArray[np.int64], truth: Sequence[Hashable]) -> dict[str, float | None]:
    """How well topics agree with the known groups `truth` of n documents; documents whose group is null do not count.

    `ami` (adjusted mutual information) and `v_measure` compare the documents in topics. `ami_all` compares all, with
    the outliers as a group of their own. All are 1 if both sides are the same, and None if no documents are left.
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
