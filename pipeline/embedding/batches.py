"""The batcher: which texts go through the replica together, under a budget of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from pipeline.replica.forward.packing import Layout

__all__ = ["MIN_BATCH_TOKENS", "BatchCounts", "plan_batches"]

MIN_BATCH_TOKENS: Final = 1024
"""A smaller batch is not worth its overhead on a CPU. Chosen, not measured."""


@dataclass(slots=True)
class BatchCounts:
    """The batches that an encoder has computed so far."""

    batches: int = 0
    tokens: int = 0
    room: int = 0
    """Tokens for which they had room, padding left aside."""

    def count(self, tokens: int, budget: int) -> None:
        """Another batch; a text longer than the budget fills one."""
        self.batches += 1
        self.tokens += tokens
        self.room += max(tokens, budget)


def plan_batches(lengths: np.ndarray, budget: int, layout: Layout = "packed", parallel: int = 1) -> list[np.ndarray]:
    """Split texts into batches, longest first.

    Sorting by length makes padded batches tight and gives packed ones few distinct shapes; longest first means that
    a batch that does not fit into memory shows at once.

    Args:
        lengths: int [n], tokens of each text, all at least 1.
        budget: most tokens that a batch may compute.
        layout: a batch computes the sum of its lengths where packed, rows × longest where padded.
        parallel: how many batches are computed at a time. Few texts are spread over that many batches of at least
            `MIN_BATCH_TOKENS` tokens; many texts are split so that the last batches run in parallel, too.

    Returns:
        Row numbers, int64, by batch. Every row is in exactly one batch; a text that is longer than the budget is alone
        in its batch.
    """
    if parallel > 1 and len(lengths):
        total = int(lengths.sum())
        rounds = -(-total // (budget * parallel))
        budget = min(budget, max(-(-total // (rounds * parallel)), MIN_BATCH_TOKENS))
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
