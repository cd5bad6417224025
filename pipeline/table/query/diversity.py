"""Hits that differ from each other: maximal marginal relevance. Pure functions on arrays."""

from __future__ import annotations

import numpy as np

__all__ = ["diverse_order"]


def diverse_order(vectors: np.ndarray, scores: np.ndarray, diversity: float, wanted: int) -> np.ndarray:
    """Which hits to take, one after the other: the best first, then always the one of the greatest marginal relevance.

    That is ``(1 - diversity) · score - diversity · (its greatest cosine with a hit that was taken)`` (Carbonell and
    Goldstein, 1998). A longer choice begins with the shorter one.

    Args:
        vectors: float32 [n, D], of length 1.
        scores: float32 [n], descending, in the range of cosines.
        diversity: from 0 to 1.
        wanted: how many to take.

    Returns:
        Positions, int64 [min(n, wanted)].
    """
    taken = np.zeros(min(len(scores), wanted), np.int64)
    gain = (1 - diversity) * scores
    closest = np.full(len(scores), -np.inf, np.float32)
    for at in range(len(taken)):
        marginal = gain - diversity * closest if at else scores.astype(np.float32)
        marginal[taken[:at]] = -np.inf
        taken[at] = best = int(np.argmax(marginal))
        closest = np.maximum(closest, vectors @ vectors[best])
    return taken
