"""Word counts by topic: counted part by part, summed, and weighted by c-TF-IDF.

With a fixed vocabulary, the counts of parts of a corpus add up to those of the whole. So the words of a topic describe
a million documents, although only a sample was clustered. The weights are those of BERTopic's `ClassTfidfTransformer`
with its defaults, over the words of `pipeline.topics.words.splitting`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError
from pipeline.topics.schema import OUTLIER
from pipeline.topics.words.splitting import SPLITTING, split_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

__all__ = ["Sum", "TermCounts", "Vocabulary", "Weighted"]

Weighted = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Vocabulary:
    """The words that are counted."""

    words: tuple[str, ...]
    """Ascending."""
    splitting: int = SPLITTING
    """Version of the rule by which they were split."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """All words of `texts`.

        Raises:
            TopicError: there are none.
        """
        words = _words_in(texts)
        if not words:
            raise TopicError("the documents hold no text: nothing to name topics by")
        return cls(tuple(sorted(words)))

    def extended(self, texts: Sequence[str]) -> Self:
        """The vocabulary with the words of `texts` too."""
        more = _words_in(texts)
        return self if more <= set(self.words) else replace(self, words=tuple(sorted(more.union(self.words))))

    @cached_property
    def _column(self) -> pa.Array:
        return pa.array(self.words, pa.large_string())

    def bag(self, texts: Sequence[str] | pa.Array) -> csr_matrix:
        """Counts of each word in each of `texts` [n]: int64 [n, words]."""
        return self._counted(texts, np.arange(len(texts)), len(texts))

    def count(self, texts: Sequence[str] | pa.Array, topics: NDArray[np.int64], of: NDArray[np.int64]) -> TermCounts:
        """Count the words of `texts` [n] by their `topics` int64 [n], one row for each of `of` int64 [k], ascending."""
        rows = np.minimum(np.searchsorted(of, topics), len(of) - 1)
        return TermCounts(of, self, self._counted(texts, np.where(of[rows] == topics, rows, -1), len(of)))

    def _counted(self, texts: Sequence[str] | pa.Array, rows: NDArray[np.int64], count: int) -> csr_matrix:
        """Counts int64 [count, words] of the words of texts [n] by their `rows` int64 [n]; row -1: not counted."""
        from scipy.sparse import csr_matrix

        total = Sum(csr_matrix((count, len(self.words)), dtype=np.int64))
        for found in split_words(texts):
            column = pc.index_in(found.words, value_set=self._column)
            row = rows[found.texts]
            kept = column.is_valid().to_numpy(zero_copy_only=False) & (row >= 0)
            column, row = column.fill_null(-1).to_numpy()[kept], row[kept].astype(np.int32)
            shape = count, len(self.words)
            total.add(csr_matrix((np.ones(len(row), dtype=np.int64), (row, column)), shape=shape))
        return total.value

    def empty(self, of: NDArray[np.int64]) -> TermCounts:
        """Counts of 0 for the topics `of` int64 [k]."""
        from scipy.sparse import csr_matrix

        return TermCounts(of, self, csr_matrix((len(of), len(self.words)), dtype=np.int64))

    def __getstate__(self) -> dict[str, Any]:
        """Without the cached column, which holds the words a second time."""
        return {"words": self.words, "splitting": self.splitting}


@dataclass(frozen=True, slots=True)
class TermCounts:
    """How often each word stands in each topic."""

    topics: NDArray[np.int64]
    """int64 [k], ascending; `OUTLIER` may be among them."""
    vocabulary: Vocabulary
    """The words."""
    matrix: csr_matrix
    """int64 [k, words]."""

    def __add__(self, other: TermCounts) -> TermCounts:
        """The sum; topics and vocabulary must be the same."""
        return replace(self, matrix=self.matrix + other.matrix)

    def merged(self, merged_into: Mapping[int, int]) -> TermCounts:
        """The counts after merging topics: those of each part are added to its target's."""
        from scipy.sparse import csr_matrix

        names = np.array([merged_into.get(topic, topic) for topic in self.topics.tolist()], dtype=np.int64)
        topics, row = np.unique(names, return_inverse=True)
        gather = csr_matrix((np.ones(len(row), np.int64), (row, np.arange(len(row)))), shape=(len(topics), len(row)))
        return replace(self, topics=topics, matrix=csr_matrix(gather @ self.matrix))

    def over(self, topics: NDArray[np.int64], vocabulary: Vocabulary) -> TermCounts:
        """The same counts for `topics` int64 [k], ascending, and `vocabulary`.

        Other topics and words are left out; topics and words without counts are 0.
        """
        from scipy.sparse import coo_matrix, csr_matrix

        found = coo_matrix(self.matrix)
        row = _positions(self.topics, topics)[found.row]
        column = _positions(self.vocabulary.words, vocabulary.words)[found.col]
        kept = (row >= 0) & (column >= 0)
        shape = len(topics), len(vocabulary.words)
        matrix = csr_matrix((found.data[kept], (row[kept], column[kept])), shape=shape, dtype=np.int64)
        return TermCounts(topics, vocabulary, matrix)

    def weights(self) -> csr_matrix:
        """c-TF-IDF: float64 [k, words].

        ``tf · log(1 + A / f)``, where tf is the word's share of the topic's words, f its count in all topics and A the
        mean number of words in a topic, rounded down (Grootendorst 2022, and `bertopic.vectorizers` to the letter).
        """
        from scipy.sparse import csr_matrix
        from sklearn.preprocessing import normalize

        return csr_matrix(normalize(self.matrix.astype(np.float64), norm="l1") @ self._idf())

    def _idf(self) -> Any:
        from scipy.sparse import diags

        lengths = np.asarray(self.matrix.sum(axis=1)).ravel()
        frequency = np.asarray(self.matrix.sum(axis=0)).ravel()
        # A corpus without outliers has no row for them.
        mean = int(lengths[(self.topics != OUTLIER) | (lengths > 0)].mean())
        return diags(np.log(mean / np.maximum(frequency, 1) + 1), format="csr")

    def bag_weights(self, texts: Sequence[str]) -> csr_matrix:
        """c-TF-IDF of single `texts` [n] by the weights of these topics: float64 [n, words]."""
        from scipy.sparse import csr_matrix
        from sklearn.preprocessing import normalize

        return csr_matrix(normalize(self.vocabulary.bag(texts).astype(np.float64), norm="l1") @ self._idf())

    def top(self, count: int) -> dict[int, Weighted]:
        """Topic → its `count` words of the largest weight, best first, ties by the alphabet; without `OUTLIER`."""
        weights: Any = self.weights()
        words = self.vocabulary.words
        best: dict[int, Weighted] = {}
        for row, topic in enumerate(self.topics.tolist()):
            if topic == OUTLIER:
                continue
            start, end = weights.indptr[row], weights.indptr[row + 1]
            columns, values = weights.indices[start:end], weights.data[start:end]
            order = np.lexsort((columns, -values))[:count]
            best[topic] = tuple((words[columns[at]], float(values[at])) for at in order if values[at] > 0)
        return best


class Sum:
    """A sum of sparse matrices. It adds matrices of similar size, so that the large ones are copied rarely."""

    def __init__(self, zero: csr_matrix) -> None:
        self._parts: list[csr_matrix] = [zero]

    def add(self, part: csr_matrix) -> None:
        """Add `part`, which has the shape of zero."""
        self._parts.append(part)
        while len(self._parts) > 1 and self._parts[-2].nnz <= 2 * self._parts[-1].nnz:
            self._parts[-2:] = [self._parts[-2] + self._parts[-1]]

    @property
    def value(self) -> csr_matrix:
        """The sum so far."""
        while len(self._parts) > 1:
            self._parts[-2:] = [self._parts[-2] + self._parts[-1]]
        return self._parts[0]


def _words_in(texts: Sequence[str]) -> set[str]:
    distinct: set[str] = set()
    for found in split_words(texts):
        distinct.update(found.words.unique().to_pylist())
    return distinct


def _positions(names: Any, of: Any) -> NDArray[np.int64]:
    """The position of each of `names` [n] in `of` [k], int64 [n]; -1: not there."""
    found = pc.index_in(pa.array(names), value_set=pa.array(of))
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
