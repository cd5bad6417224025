"""What a replica computes on: plain arrays, so that tokenizing needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TokenBatch"]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Token sequences, one after another, with the part of each that is the document's own text.

    ids int32 [total] · lengths int64 [n], all ≥ 1 · starts, stops int64 [n]: the text's tokens, ``0 ≤ start < stop ≤
    length``.
    """

    ids: np.ndarray
    lengths: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
