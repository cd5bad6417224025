"""How often each word stands in each topic: counted part by part, summed, and weighed as c-TF-IDF.

With a fixed vocabulary, counts of parts of a corpus add up to those of the whole, so the words of a topic can describe
a million documents of which only a sample was clustered. The weights are those of BERTopic's `ClassTfidfTransformer`
with its defaults, over the words of `CountVectorizer(stop_words="english")`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError
from pipeline.topics.words.tokens import language_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

__all__ = ["OUTSIDE", "Sum", "TermCounts", "Vocabulary", "Weighted"]

OUTSIDE: Final = -1
"""The row of documents in no topic: their words count as words of the corpus."""

Weighted = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Vocabulary:
    """The words that are counted, ascending, and whether texts are stripped to ASCII letters and digits before."""

    words: tuple[str, ...]
    language: str

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """All words of `texts` but English stop words.

        Raises:
            TopicError: there are none.
        """
        language = language_of(texts)
        words = _words_in(texts, language)
        if not words:
            raise TopicError("the documents hold no words but English stop words: nothing to name topics by")
        return cls(tuple(sorted(words)), language)

    def extended(self, texts: Sequence[str]) -> Self:
        """With the words of `texts` too."""
        more = _words_in(texts, self.language)
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
        """Counts of each word in the texts of each of `count` `rows` int64 [n]; texts of row -1 are passed over."""
        from scipy.sparse import csr_matrix

        total = Sum(csr_matrix((count, len(self.words)), dtype=np.int64))
        for tokens in tokens_of(texts, self.language):
            column = pc.index_in(tokens.words, value_set=self._column)
            row = rows[tokens.texts]
            kept = column.is_valid().to_numpy(zero_copy_only=False) & (row >= 0)
            column, row = column.fill_null(-1).to_numpy()[kept], row[kept].astype(np.int32)
            shape = count, len(self.words)
            total.add(csr_matrix((np.ones(len(row), dtype=np.int64), (row, column)), shape=shape))
        return total.value

    def empty(self, of: NDArray[np.int64]) -> TermCounts:
        """No counts, for the topics `of` int64 [k]."""
        from scipy.sparse import csr_matrix

        return TermCounts(of, self, csr_matrix((len(of), len(self.words)), dtype=np.int64))

    def __getstate__(self) -> dict[str, Any]:
        """The words once, for their way to a worker."""
        return {"words": self.words, "language": self.language}


@dataclass(frozen=True, slots=True)
class TermCounts:
    """`matrix` int64 [k, words]: how often each word of the `vocabulary` stands in each of `topics` int64 [k]."""

    topics: NDArray[np.int64]
    vocabulary: Vocabulary
    matrix: csr_matrix

    def __add__(self, other: TermCounts) -> TermCounts:
        """The counts of both; topics, and vocabularies, must be the same."""
        return replace(self, matrix=self.matrix + other.matrix)

    def regrouped(self, onto: Mapping[int, int]) -> TermCounts:
        """With the topics of `onto` counted under other ids; ids that meet are summed, the result is ascending."""
        from scipy.sparse import csr_matrix

        names = np.array([onto.get(topic, topic) for topic in self.topics.tolist()], dtype=np.int64)
        topics, row = np.unique(names, return_inverse=True)
        gather = csr_matrix((np.ones(len(row), np.int64), (row, np.arange(len(row)))), shape=(len(topics), len(row)))
        return replace(self, topics=topics, matrix=csr_matrix(gather @ self.matrix))

    def over(self, topics: NDArray[np.int64], vocabulary: Vocabulary) -> TermCounts:
        """The same counts laid out for `topics` int64 [k], ascending, and `vocabulary`.

        What these do not have is left out; what they have and was not counted is 0.
        """
        from scipy.sparse import coo_matrix, csr_matrix

        found = coo_matrix(self.matrix)
        row = _places(self.topics, topics)[found.row]
        column = _places(self.vocabulary.words, vocabulary.words)[found.col]
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
        mean = int(lengths[(self.topics != OUTSIDE) | (lengths > 0)].mean())
        return diags(np.log(mean / np.maximum(frequency, 1) + 1), format="csr")

    def bag_weights(self, texts: Sequence[str]) -> csr_matrix:
        """c-TF-IDF of single `texts` [n] by the weights of these topics: float64 [n, words]."""
        from scipy.sparse import csr_matrix
        from sklearn.preprocessing import normalize

        return csr_matrix(normalize(self.vocabulary.bag(texts).astype(np.float64), norm="l1") @ self._idf())

    def top(self, count: int) -> dict[int, Weighted]:
        """The `count` words of the largest weight of each topic but `OUTSIDE`, best first; the alphabet breaks ties."""
        weights: Any = self.weights()
        words = self.vocabulary.words
        best: dict[int, Weighted] = {}
        for row, topic in enumerate(self.topics.tolist()):
            if topic == OUTSIDE:
                continue
            start, end = weights.indptr[row], weights.indptr[row + 1]
            places, values = weights.indices[start:end], weights.data[start:end]
            order = np.lexsort((places, -values))[:count]
            best[topic] = tuple((words[places[at]], float(values[at])) for at in order if values[at] > 0)
        return best


class Sum:
    """A sum of sparse matrices that adds small ones to small ones, so that no large one is copied often."""

    def __init__(self, zero: csr_matrix) -> None:
        self._parts: list[csr_matrix] = [zero]

    def add(self, part: csr_matrix) -> None:
        """Add `part`, of the shape of zero."""
        self._parts.append(part)
        while len(self._parts) > 1 and self._parts[-2].nnz <= 2 * self._parts[-1].nnz:
            self._parts[-2:] = [self._parts[-2] + self._parts[-1]]

    @property
    def value(self) -> csr_matrix:
        """What was added so far."""
        while len(self._parts) > 1:
            self._parts[-2:] = [self._parts[-2] + self._parts[-1]]
        return self._parts[0]


def _words_in(texts: Sequence[str], language: str) -> set[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    found: set[str] = set()
    for tokens in tokens_of(texts, language):
        found.update(tokens.words.unique().to_pylist())
    return found - ENGLISH_STOP_WORDS


def _places(names: Any, of: Any) -> NDArray[np.int64]:
    """Where each of `names` [n] stands in `of` [k]: int64 [n]; -1: it does not."""
    found = pc.index_in(pa.array(names), value_set=pa.array(of))
    return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
