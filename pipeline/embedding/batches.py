"""The batcher: which texts go through the replica together, under a budget of tokens. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.replica.packing import Layout

__all__ = ["plan_batches"]


def plan_batches(lengths: np.ndarray, budget: int, layout: Layout = "packed") -> list[np.ndarray]:
    """Split texts into batches, longest first.

    Sorting by length makes padded batches tight and gives packed ones few distinct shapes; longest first means that
    a batch that does not fit into memory shows at once.

    Args:
        lengths: int [n], tokens of each text, all at least 1.
        budget: tokens that a batch may compute.
        layout: a batch computes the sum of its lengths where packed, rows × longest where padded.

    Returns:
        Row numbers, int64, by batch. Every row is in exactly one batch; a text that is longer than the budget is alone
        in its batch.
    """
    order = np.argsort(-lengths, kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    while start < len(order):
        rest = lengths[order[start:]]
        cost = np.cumsum(rest) if layout == "packed" else np.arange(1, len(rest) + 1) * rest[0]
        fitting = max(int(np.searchsorted(cost, budget, side="right")), 1)
        batches.append(order[start : start + fitting])
        start += fitting
    return batches
