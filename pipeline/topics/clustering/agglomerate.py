"""Fewer topics out of many: which of them are to become one. Pure functions on arrays."""

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
    """Merge k topics step by step, until `to` are left: int64 [k], for each the row of the topic that it becomes.

    Each step merges the two that add least to the squared distances of documents from their centroids (Ward 1963), so
    small topics go before large ones, and near ones before far ones. A group goes on as its fixed member, else as its
    largest.

    Args:
        centroids: unit, float32 [k, D].
        sizes: documents of each, int64 [k].
        to: how many are left, 1 ≤ to ≤ k.
        fixed: bool [k]: topics that must go on; no two of them are merged.

    Raises:
        UsageError: more topics are fixed than are to be left.
    """
    if fixed.sum() > to:
        raise UsageError(f"{fixed.sum()} topics have locked labels and stay: reduce to at least {fixed.sum()}")
    count, weights = len(centroids), np.maximum(sizes, 1).astype(np.float64)
    onto, kept = np.arange(count), fixed.copy()
    cost = _first_costs(centroids.astype(np.float64), weights, fixed)
    for _ in range(count - to):
        first, second = divmod(int(cost.argmin()), count)
        if (kept[second], sizes[second], -second) > (kept[first], sizes[first], -first):
            first, second = second, first
        cost[first], cost[second] = _merged(cost, weights, first, second), np.inf
        cost[:, first], cost[:, second] = cost[first], np.inf
        weights[first] += weights[second]
        onto[onto == second] = first
        cost[first, kept & kept[first]] = cost[kept & kept[first], first] = np.inf
    return onto


def _first_costs(
    centroids: NDArray[np.float64], weights: NDArray[np.float64], fixed: NDArray[np.bool_]
) -> NDArray[np.float64]:
    squared = (centroids**2).sum(axis=1)
    apart = np.maximum(squared[:, None] + squared[None, :] - 2 * centroids @ centroids.T, 0)
    cost = apart * weights[:, None] * weights[None, :] / (weights[:, None] + weights[None, :])
    cost[np.ix_(fixed, fixed)] = np.inf
    np.fill_diagonal(cost, np.inf)
    return cost


def _merged(cost: NDArray[np.float64], weights: NDArray[np.float64], first: int, second: int) -> NDArray[np.float64]:
    """What merging each other topic with the union of two would cost (Lance and Williams 1967): float64 [k]."""
    total = weights[first] + weights[second] + weights
    moved = (weights[first] + weights) * cost[first] + (weights[second] + weights) * cost[second]
    found = (moved - weights * cost[first, second]) / total
    found[[first, second]] = np.inf
    return found
