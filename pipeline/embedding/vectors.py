"""What an encoder hands out: plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RawVectors", "Vectors"]


@dataclass(frozen=True, slots=True)
class RawVectors:
    """What the replica says of n texts, before calibration."""

    hidden_state: np.ndarray
    """HS, float32 [n, H]."""
    routing_weights: np.ndarray
    """RW, float32 [n, R]."""
    n_tokens: np.ndarray
    """int32 [n], prompt included."""
    truncated: np.ndarray
    """bool [n], whether the text was cut."""

    def take(self, rows: np.ndarray) -> RawVectors:
        """The texts at `rows`, int64 [m], in that order."""
        return RawVectors(
            self.hidden_state[rows], self.routing_weights[rows], self.n_tokens[rows], self.truncated[rows]
        )

    @classmethod
    def joined(cls, parts: Sequence[RawVectors]) -> Self:
        """One after another; at least one."""
        return cls(
            np.concatenate([part.hidden_state for part in parts]),
            np.concatenate([part.routing_weights for part in parts]),
            np.concatenate([part.n_tokens for part in parts]),
            np.concatenate([part.truncated for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Vectors:
    """MoEE vectors of n texts with what a table stores beside them."""

    vectors: np.ndarray
    """float32 [n, D]."""
    hidden_norms: np.ndarray
    """float32 [n], length of the z-scored hidden state."""
    routing_norms: np.ndarray
    """float32 [n], length of the z-scored routing weights."""
    n_tokens: np.ndarray
    """int32 [n], prompt included."""
    truncated: np.ndarray
    """bool [n], whether the text was cut."""
