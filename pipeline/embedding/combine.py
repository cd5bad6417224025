"""Two halves → one vector, and back: how HS and RW become a MoEE vector, a query, and a score.

With h and r the unit-length halves, ``sum`` stores ``[h ; √α·r] / √(1+α)``; the dot product of two such vectors is
``(cos_h + α·cos_r) / (1+α)``: the paper's MoEE(sum) in one ordinary nearest-neighbour column. The query
``[h ; (α'/√α)·r]`` ranks by ``cos_h + α'·cos_r`` for any other α' ≥ 0, without embedding anything again. ``concat``
stores ``unit([z_h ; z_r])``, ``hs`` and ``rw`` one half. Pure functions on arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.embedding.calibration import Halves
    from pipeline.spec import Combine

__all__ = ["Query", "combine", "dimension", "query_vector", "reweighted", "split", "unit"]


@dataclass(frozen=True, slots=True)
class Query:
    """A query against stored vectors."""

    vector: np.ndarray
    """float32 [D]."""
    scale: float
    """The reported score is this times the dot product with a stored vector."""

    @property
    def length(self) -> float:
        """Euclidean length of `vector`: ``score = scale · length · cosine``."""
        return float(np.linalg.norm(self.vector))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32 [..., D]; a row of zeros stays zero."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    return (rows / np.where(norms > 0, norms, 1)).astype(np.float32)


def dimension(combine: Combine, hidden: int, routing: int) -> int:
    """D, the length of a stored vector."""
    return {"hs": hidden, "rw": routing}.get(combine, hidden + routing)


def combine(halves: Halves, how: Combine, alpha: float | None) -> np.ndarray:
    """Z-scored halves → stored vectors, float32 [n, D], unit length."""
    if how == "hs":
        return unit(halves.hidden)
    if how == "rw":
        return unit(halves.routing)
    if how == "concat":
        return unit(np.concatenate([halves.hidden, halves.routing], axis=1))
    weight = 1.0 if alpha is None else alpha
    joined = np.concatenate([unit(halves.hidden), math.sqrt(weight) * unit(halves.routing)], axis=1)
    return unit(joined)


def split(vectors: np.ndarray, how: Combine, hidden: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit-length halves (h [n, H], r [n, R]) of stored vectors; a half that is not stored has no columns."""
    vectors = np.asarray(vectors, dtype=np.float32)
    if how == "hs":
        return unit(vectors), vectors[:, :0]
    if how == "rw":
        return vectors[:, :0], unit(vectors)
    return unit(vectors[:, :hidden]), unit(vectors[:, hidden:])


def query_vector(
    vector: np.ndarray, how: Combine, hidden: int, alpha: float | None, query_alpha: float | None
) -> Query:
    """A stored-form vector [D] → the query that ranks by `query_alpha` (None: as the table's own `alpha`).

    Raises:
        UsageError: a query alpha for a table that has none, or one that is negative or not a number.
    """
    if not _is_another(query_alpha, how, alpha):
        return Query(unit(vector), 1.0)
    stored = 1.0 if alpha is None else alpha
    h, r = split(vector[None], how, hidden)
    query = np.concatenate([h[0], query_alpha / math.sqrt(stored) * r[0]]).astype(np.float32)
    return Query(query, math.sqrt(1 + stored) / (1 + query_alpha))


def reweighted(
    vectors: np.ndarray, how: Combine, hidden: int, alpha: float | None, query_alpha: float | None
) -> np.ndarray:
    """Stored vectors [n, D] → vectors float32 [n, D] whose dot products are the scores that `query_alpha` gives.

    Raises:
        UsageError: as `query_vector`.
    """
    if not _is_another(query_alpha, how, alpha):
        return unit(vectors)
    h, r = split(vectors, how, hidden)
    return np.concatenate([h, math.sqrt(query_alpha) * r], axis=1) / np.float32(math.sqrt(1 + query_alpha))


def _is_another(query_alpha: float | None, how: Combine, alpha: float | None) -> TypeGuard[float]:
    """Whether `query_alpha` is another weight than the stored one; refuses what no search can have."""
    if query_alpha is None or (how == "sum" and query_alpha == alpha):
        return False
    if how != "sum":
        raise UsageError(f"alpha={query_alpha}: this table's vectors are {how!r}; only 'sum' has a weight to choose")
    if not (query_alpha >= 0 and math.isfinite(query_alpha)):
        raise UsageError(f"alpha={query_alpha}: the routing weight of a query is a finite number, 0 or more")
    return True
