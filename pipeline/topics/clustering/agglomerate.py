"""Which topics to merge so that fewer are left: agglomerative clustering by Ward. Pure functions on arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["agglomerate"]


def agglomerate(
    centroids: NDArray[np.float32], sizes: NDArray[np.int64], to: int, fixed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Merge k topics pair by pair, until `to` are left.

    Each step merges the two topics whose union adds least to the squared distances of documents from their centroids
    (Ward 1963). So small topics go before large ones, and near ones before far ones. A group goes on as its fixed
    member, else as its largest.

    Args:
        centroids: float32 [k, D], unit length.
        sizes: int64 [k], documents of each topic.
        to: how many topics are left, 1 ≤ to ≤ k.
        fixed: bool [k], topics that must stay; no two of them are merged.

    Returns:
        For each topic the position of the topic that it becomes, int64 [k].

    Raises:
        UsageError: more topics are fixed than may be left.
    """
    if fixed.sum() > to:
        raise UsageError(f"{fixed.sum()} topics have locked labels and stay: reduce to at least {fixed.sum()}")
    count, weights = len(centroids), np.maximum(sizes, 1).astype(np.float64)
    merged_into, kept = np.arange(count), fixed.copy()
    cost = _first_costs(centroids.astype(np.float64), weights, fixed)
    for _ in range(count - to):
        # The cheapest pair; `first` goes on, and `second` becomes a part of it.
        first, second = divmod(int(cost.argmin()), count)
        if (kept[second], sizes[second], -second) > (kept[first], sizes[first], -first):
            first, second = second, first
        cost[first], cost[second] = _merged(cost, weights, first, second), np.inf
        cost[:, first], cost[:, second] = cost[first], np.inf
        weights[first] += weights[second]
        merged_into[merged_into == second] = first
        # Two fixed topics never meet.
        cost[first, kept & kept[first]] = cost[kept & kept[first], first] = np.inf
    return merged_into


def _first_costs(
    centroids: NDArray[np.float64], weights: NDArray[np.float64], fixed: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What merging each pair would cost, float64 [k, k]; infinite on the diagonal and between fixed topics."""
    squared = (centroids**2).sum(axis=1)
    apart = np.maximum(squared[:, None] + squared[None, :] - 2 * centroids @ centroids.T, 0)
    cost = apart * weights[:, None] * weights[None, :] / (weights[:, None] + weights[None, :])
    cost[np.ix_(fixed, fixed)] = np.inf
    np.fill_diagonal(cost, np.inf)
    return cost


def _merged(cost: NDArray[np.float64], weights: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    """What merging each topic with the union of `first` and `second` would cost (Lance, Williams 1967): float64 [k]."""
    total = weights[first] + weights[second] + weights
    moved = (weights[first] + weights) * cost[first] + (weights[second] + weights) * cost[second]
    found = (moved - weights * cost[first, second]) / total
    found[[first, second]] = np.inf
    return found
