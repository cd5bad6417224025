"""From pairs of vectors to pairs and groups of rows: equal vectors are compared once, and stand for all their rows.

Pure functions on arrays and columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.duplicates.pairs import Pairs, check_pair_count
from pipeline.table.schema import SCORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Copies", "Groups", "groups_table", "leaders", "pairs_table"]


@dataclass(frozen=True, slots=True)
class Groups:
    """k rows that are in groups."""

    rows: NDArray[np.int64]
    """int64 [k]: their numbers, ascending."""
    vectors: NDArray[np.int64]
    """int64 [k]: which vector each of them has."""
    groups: NDArray[np.int64]
    """int64 [k]: equal in one group."""


@dataclass(frozen=True, slots=True)
class Copies:
    """n rows by their v different vectors."""

    rows: NDArray[np.int64]
    """int64 [n]: the numbers of the rows; those of one vector together, ascending."""
    starts: NDArray[np.int64]
    """int64 [v]: where the rows of each vector begin. First rows ascend."""
    documents: NDArray[np.int64] | None
    """int64 [n]: rows with the same number are of one document, and no pair; None: every row is a document."""

    @classmethod
    def of(cls, rows: NDArray[np.int64], keys: NDArray[np.uint64], documents: NDArray[np.int64] | None) -> Self:
        """From `rows` int64 [n], ascending, the keys [n] of their vectors, and the documents [n] of these rows."""
        _, first, vector = np.unique(keys, return_index=True, return_inverse=True)
        order = np.argsort(first[vector], kind="stable")
        starts = np.flatnonzero(np.diff(first[vector][order], prepend=-1))
        return cls(rows[order], starts, None if documents is None else documents[order])

    @property
    def firsts(self) -> NDArray[np.int64]:
        """The first row of each vector, int64 [v], ascending."""
        return self.rows[self.starts]

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many rows each vector has, int64 [v]."""
        return np.diff(self.starts, append=len(self.rows))

    def common_documents(self) -> NDArray[np.int64] | None:
        """The document that all rows of a vector are of, int64 [v]; -1 where they are of several."""
        if self.documents is None:
            return None
        least, most = (extreme.reduceat(self.documents, self.starts) for extreme in (np.minimum, np.maximum))
        return np.where(least == most, least, -1)

    def pairs(self, found: Pairs, score: float) -> Pairs:
        """All pairs of rows: those of equal vectors, and those of the vectors in `found`, numbers below v.

        Raises:
            UsageError: there are too many.
        """
        counts = self.counts
        sizes = counts[found.rows[:, 0]] * counts[found.rows[:, 1]]
        check_pair_count(int((counts * (counts - 1) // 2).sum() + sizes.sum()), score)
        equal = np.flatnonzero(counts > 1)
        vectors = np.concatenate([found.rows, np.stack([equal, equal], axis=1)])
        scores = np.concatenate([found.scores, np.ones(len(equal), np.float32)])
        sizes = np.concatenate([sizes, counts[equal] ** 2])
        pair = np.repeat(np.arange(len(sizes)), sizes)
        within = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        left, right = vectors[pair].T
        at = self.starts[left] + within // counts[right], self.starts[right] + within % counts[right]
        kept = (left != right) | (at[0] < at[1])
        if self.documents is not None:
            kept &= self.documents[at[0]] != self.documents[at[1]]
        return Pairs(self.rows[np.stack(at, axis=1)[kept]], scores[pair[kept]])

    def groups(self, links: NDArray[np.int64]) -> Groups:
        """The rows that `links` int64 [p, 2], numbers of vectors below v, and equal vectors connect."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        counts, vectors = self.counts, len(self.starts)
        graph = coo_array((np.ones(len(links), np.int8), (links[:, 0], links[:, 1])), shape=(vectors, vectors))
        _, group = connected_components(graph, directed=False)
        is_in_one = counts > 1
        if (common := self.common_documents()) is not None:
            is_in_one &= common < 0
        is_in_one |= np.bincount(group)[group] > 1
        of = np.repeat(np.arange(vectors), counts)
        of, rows = of[is_in_one[of]], self.rows[is_in_one[of]]
        order = np.argsort(rows)
        return Groups(rows[order], of[order], group[of[order]].astype(np.int64))


def pairs_table(ids: pa.Array, pairs: Pairs) -> pa.Table:
    """Columns a, b, _score: the ids of each pair, a before b; best first, then by ids.

    Args:
        ids: string [k].
        pairs: of numbers below k.
    """
    ranks = _ranks(ids)
    ends = np.sort(ranks[pairs.rows], axis=1)
    order = np.lexsort((ends[:, 1], ends[:, 0], -pairs.scores))
    by_rank = ids.take(pa.array(np.argsort(ranks)))
    columns = [by_rank.take(pa.array(ends[order, side])) for side in (0, 1)]
    return pa.table([*columns, pa.array(pairs.scores[order], pa.float32())], names=["a", "b", SCORE])


def leaders(ids: pa.Array, groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of k rows the one of the lowest id in its group: positions, int64 [k]."""
    order = np.lexsort((_ranks(ids), groups))
    _, first, group = np.unique(groups[order], return_index=True, return_inverse=True)
    led = np.empty(len(order), np.int64)
    led[order] = order[first[group]]
    return led


def groups_table(ids: pa.Array, led: NDArray[np.int64], scores: NDArray[np.float32]) -> pa.Table:
    """Columns group, from 0, id, kept, _score; the largest group first, then by the leader's id, in it the best first.

    Args:
        ids: string [k].
        led: of `leaders`; a leader is the one row of its group that is kept.
        scores: float32 [k], with the leader.
    """
    ranks = _ranks(ids)
    order = np.lexsort((ranks, -scores, led != np.arange(len(led)), ranks[led], -np.bincount(led)[led]))
    led, scores = led[order], scores[order]
    starts = np.diff(led, prepend=-1) != 0
    columns = [pa.array(np.cumsum(starts) - 1), ids.take(pa.array(order)), pa.array(starts), pa.array(scores)]
    return pa.table(columns, names=["group", "id", "kept", SCORE])


def _ranks(ids: pa.Array) -> NDArray[np.int64]:
    """The place of each of `ids`, which differ, in their order: int64 [k]."""
    ranks = np.empty(len(ids), np.int64)
    ranks[pc.array_sort_indices(ids).to_numpy()] = np.arange(len(ids))
    return ranks
