"""All pairs of some vectors that score enough, by matrix products. Pure functions on arrays.

Too many vectors for that are put into cells and compared within each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from pipeline.errors import UsageError
from pipeline.table.duplicates.cells import SAMPLE_PER_CELL, cell_count, cells_of, find_centroids, members_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["EXACT_ROWS", "MAX_PAIRS", "Comparison", "Pairs", "check_pair_count", "links", "pair_scores"]

EXACT_ROWS: Final = 50_000
"""Up to so many vectors are all compared with each other."""

MAX_PAIRS: Final = 5_000_000
"""Of a result; their ids take about a gigabyte."""

SCORES_PER_PRODUCT: Final = 1 << 23
"""32 MB in float32."""

PAIRS_AT_ONCE: Final = 4096

ROUNDING: Final = 1e-5
"""By how much a score of a matrix product, whose last bits depend on its shape, may differ from `pair_scores`."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """p pairs of rows, each once."""

    rows: NDArray[np.int64]
    """int64 [p, 2]; the first of each pair is the lower one."""
    scores: NDArray[np.float32]
    """float32 [p]."""

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All pairs of `parts`."""
        rows = [np.empty((0, 2), np.int64), *(part.rows for part in parts)]
        scores = [np.empty(0, np.float32), *(part.scores for part in parts)]
        return cls(np.concatenate(rows), np.concatenate(scores))

    def at(self, which: NDArray[np.bool_]) -> Self:
        """The pairs where `which` bool [p] holds."""
        return type(self)(self.rows[which], self.scores[which])

    def among(self, rows: NDArray[np.int64]) -> Self:
        """The same with row i named `rows`[i], which ascend."""
        return type(self)(rows[self.rows], self.scores)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What pairs are looked for."""

    score: float
    """Their least score."""
    connected: bool
    """Whether only the groups that the pairs connect are wanted: of each group as many links as hold it together,
    some of which need not be pairs, and without scores."""

    def pairs(self, vectors: NDArray[np.float32], documents: NDArray[np.int64] | None = None) -> Pairs:
        """All pairs of `vectors` float32 [n, D], of length 1; of more than `EXACT_ROWS` nearly all.

        Args:
            vectors: to compare.
            documents: int64 [n]; rows with the same number, unless it is negative, are no pair.

        Raises:
            UsageError: there are more than `MAX_PAIRS`.
        """
        if len(vectors) <= EXACT_ROWS:
            return self._all_compared(vectors, documents)
        count = cell_count(len(vectors))
        step = max(1, len(vectors) // (SAMPLE_PER_CELL * count))
        cells = cells_of(vectors, find_centroids(vectors[::step], count))
        if np.bincount(cells.ravel()).max() == len(vectors):  # they cannot be told apart
            return self._all_compared(vectors, documents)
        return self.pairs_in_cells(cells, members_of(cells), vectors.__getitem__, documents)

    def pairs_in_cells(
        self,
        cells: NDArray[np.int32],
        members: Iterable[tuple[int, NDArray[np.int64]]],
        vectors_at: Callable[[NDArray[np.int64]], NDArray[np.float32]],
        documents: NDArray[np.int64] | None = None,
    ) -> Pairs:
        """The pairs in some of the cells, without those that a cell of a lower number has, too.

        Args:
            cells: of n rows, int32 [n, cells a row].
            members: of each of these cells the rows, ascending.
            vectors_at: rows int64 [k] → their vectors, float32 [k, D].
            documents: as in `pairs`.

        Raises:
            UsageError: as `pairs`.
        """
        found: list[Pairs] = []
        for cell, rows in members:
            inside = self.pairs(vectors_at(rows), None if documents is None else documents[rows]).among(rows)
            found.append(inside if self.connected else inside.at(_first_met_in(cell, cells, inside.rows)))
            self._check(found)
        return Pairs.joined(found)

    def _all_compared(self, vectors: NDArray[np.float32], documents: NDArray[np.int64] | None) -> Pairs:
        count = len(vectors)
        # Products of few rows are slow; of all rows at once they would hold every pair twice.
        step = max(1, min(max(count // 8, 128), SCORES_PER_PRODUCT // max(count, 1)))
        found: list[Pairs] = []
        for start in range(0, count, step):
            scores = vectors[start : start + step] @ vectors[start:].T
            least = self.score if self.connected else self.score - ROUNDING
            at = np.flatnonzero(scores.ravel() >= np.float32(least))
            rows = np.stack(np.divmod(at, count - start), axis=1) + start
            rows = rows[rows[:, 0] < rows[:, 1]]
            if documents is not None:
                of = documents[rows]
                rows = rows[(of[:, 0] != of[:, 1]) | (of[:, 0] < 0)]
            found.append(_unscored(links(rows)) if self.connected else self._scored(vectors, rows))
            self._check(found)
        return Pairs.joined(found)

    def _scored(self, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> Pairs:
        check_pair_count(len(rows), self.score)
        scores = pair_scores(vectors, rows)
        return Pairs(rows, scores).at(scores >= np.float32(self.score))

    def _check(self, found: Sequence[Pairs]) -> None:
        if not self.connected:
            check_pair_count(sum(map(len, found)), self.score)


def pair_scores(vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The scores of the pairs `rows` int64 [p, 2] of `vectors`: float32 [p], the same wherever a pair is met."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        block = rows[start : start + PAIRS_AT_ONCE]
        # Not by a matrix product, whose last bits depend on how many rows there are.
        scores[start : start + len(block)] = (vectors[block[:, 0]] * vectors[block[:, 1]]).sum(axis=1)
    return np.minimum(scores, np.float32(1))


def check_pair_count(count: int, score: float) -> None:
    """Refuse a result that is too large to hold.

    Raises:
        UsageError: `count` is more than `MAX_PAIRS`.
    """
    if count > MAX_PAIRS:
        raise UsageError(
            f"more than {MAX_PAIRS:,} pairs score {score:g} or more: ask for a higher score, or for groups"
        )


def _unscored(rows: NDArray[np.int64]) -> Pairs:
    return Pairs(rows, np.full(len(rows), np.nan, np.float32))


def links(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """As many pairs, int64 [q, 2], as connect what the pairs `rows` int64 [p, 2] connect."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(rows, return_inverse=True)
    left, right = ends.reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), np.int8), (left, right)), shape=(len(nodes), len(nodes)))
    _, group = connected_components(graph, directed=False)
    _, first = np.unique(group, return_index=True)
    pairs = np.stack([nodes[first[group]], nodes], axis=1)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _first_met_in(cell: int, cells: NDArray[np.int32], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether `cell` is the lowest that both rows of a pair have in common, for the pairs `rows` int64 [p, 2]."""
    left, right = cells[rows[:, 0]], cells[rows[:, 1]]
    met_before = (left[:, :, None] == right[:, None, :]) & (left < cell)[:, :, None]
    return ~met_before.any(axis=(1, 2))
