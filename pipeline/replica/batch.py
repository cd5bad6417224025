"""What a replica computes on: plain arrays, so that tokenizing needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TokenBatch"]


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Token sequences, one after another, with the part of each that is the document's own text."""

    ids: np.ndarray
    """int32 [total tokens]."""
    lengths: np.ndarray
    """int64 [n], tokens in each sequence, at least 1."""
    starts: np.ndarray
    """int64 [n], the first token of the text in its sequence."""
    stops: np.ndarray
    """int64 [n], the end of the text: ``0 ≤ start < stop ≤ length``."""
