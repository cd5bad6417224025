"""What an encoder hands out: plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

__all__ = ["RawVectors", "Vectors"]


@dataclass(frozen=True, slots=True)
class RawVectors:
    """What the replica says of n texts, before calibration.

    hidden_state float32 [n, H] · routing_weights float32 [n, R] · n_tokens int32 [n], prompt included · truncated
    bool [n], whether the text was cut.
    """

    hidden_state: np.ndarray
    routing_weights: np.ndarray
    n_tokens: np.ndarray
    truncated: np.ndarray


@dataclass(frozen=True, slots=True)
class Vectors:
    """MoEE vectors float32 [n, D] with what a table stores beside them.

    hidden_norms, routing_norms float32 [n]: lengths of the z-scored halves · n_tokens int32 [n] · truncated bool [n].
    """

    vectors: np.ndarray
    hidden_norms: np.ndarray
    routing_norms: np.ndarray
    n_tokens: np.ndarray
    truncated: np.ndarray
