"""Which half, which α: precision@10 of every way to combine stored halves, without the model.

For a query q and a document d all ways follow from two cosines and the lengths of the z-scored halves:

    hs, rw      cos_h, cos_r
    sum α       cos_h + α·cos_r
    concat      (|z_h(q)|·|z_h(d)|·cos_h + |z_r(q)|·|z_r(d)|·cos_r) / |[z_h(d) ; z_r(d)]|, times a constant of the query

so both cosines are computed once for all ways.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.embedding.evaluation import ALPHAS, NEIGHBOURS
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Ablation", "StoredHalves", "Way", "ablate"]

QUERIES_PER_PRODUCT: Final = 512
ROWS_PER_PRODUCT: Final = 8192
"""Two products of this size are 32 MB in float32."""

CONFIDENCE: Final = 0.95


@dataclass(frozen=True, slots=True)
class StoredHalves:
    """The halves of n documents."""

    hidden: NDArray[np.floating]
    """[n, H], rows of unit length, in any float type."""
    routing: NDArray[np.floating]
    """[n, R], likewise."""
    norms: NDArray[np.float32]
    """float32 [n, 2]: lengths of the z-scored halves, or what is proportional to them in each row; NaN: not known."""

    def __len__(self) -> int:
        return len(self.norms)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to combine, and what it gives."""

    combine: str
    alpha: float | None
    """Of ``sum``."""
    precision: float
    """Mean share of the 10 nearest others that carry the query's label."""
    gain: float
    """`precision` minus that of the way compared with."""
    margin: float
    """Half of the interval around `gain`, at 95 % for all ways together (Bonferroni, normal approximation of the mean
    over queries of the paired differences)."""

    @property
    def name(self) -> str:
        """As one types it: ``hs``, ``sum 0.5``."""
        return self.combine if self.alpha is None else f"{self.combine} {self.alpha:g}"


@dataclass(frozen=True, slots=True)
class Ablation:
    """All ways, measured on the same queries."""

    ways: tuple[Way, ...]
    used: Way
    """The way that the others are compared with."""
    chance: float
    """Precision of neighbours drawn at random."""
    queries: int
    documents: int

    @property
    def best(self) -> Way:
        """Of the highest precision."""
        return max(self.ways, key=lambda way: way.precision)

    @property
    def is_better(self) -> bool:
        """Whether `best` stands above `used` by more than the noise."""
        return self.best.gain > self.best.margin


def ablate(
    halves: StoredHalves,
    labels: NDArray[np.int64],
    documents: NDArray[np.int64],
    queries: NDArray[np.int64],
    used: tuple[str, float | None],
    alphas: Sequence[float] = ALPHAS,
) -> Ablation:
    """Measure every way; ``concat`` only where all lengths are known.

    Args:
        halves: of n documents or chunks.
        labels: int64 [n].
        documents: int64 [n]; rows with the same number are chunks of one document, and no neighbours of each other.
        queries: int64 [q]; rows whose neighbours are looked at.
        used: combine and alpha of the way to compare with.
        alphas: weights of ``sum``; that of `used` is added.

    Raises:
        UsageError: there are not more than 10 documents, or they carry one label only.
    """
    if len(np.unique(documents)) <= NEIGHBOURS:
        raise UsageError(f"precision@{NEIGHBOURS} needs more than {NEIGHBOURS} labelled documents")
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2:
        raise UsageError("all documents carry the same label: every way would find the same")
    weights: set[float] = {*alphas} if used[1] is None else {*alphas, used[1]}
    ways: list[tuple[str, float | None]] = [("hs", None), ("rw", None)]
    if np.isfinite(halves.norms).all():
        ways.append(("concat", None))
    ways.extend(("sum", weight) for weight in sorted(weights))
    hits = np.concatenate(
        [
            _hits(halves, labels, documents, queries[start : start + QUERIES_PER_PRODUCT], ways)
            for start in range(0, len(queries), QUERIES_PER_PRODUCT)
        ],
        axis=1,
    )
    measured = _measured(ways, hits, hits[ways.index(used)])
    chance = float((counts * (counts - 1)).sum() / (counts.sum() * (counts.sum() - 1)))
    return Ablation(tuple(measured), measured[ways.index(used)], chance, len(queries), len(halves))


def _hits(
    halves: StoredHalves,
    labels: NDArray[np.int64],
    documents: NDArray[np.int64],
    queries: NDArray[np.int64],
    ways: Sequence[tuple[str, float | None]],
) -> NDArray[np.float64]:
    """float64 [ways, q]: for each query, the share of its nearest others that carry its label."""
    scores = np.full((len(ways), len(queries), NEIGHBOURS), -np.inf, np.float32)
    same = np.zeros(scores.shape, bool)
    hidden, routing = (half[queries].astype(np.float32) for half in (halves.hidden, halves.routing))
    for start in range(0, len(halves), ROWS_PER_PRODUCT):
        block = slice(start, start + ROWS_PER_PRODUCT)
        cos_h = hidden @ halves.hidden[block].astype(np.float32).T
        cos_r = routing @ halves.routing[block].astype(np.float32).T
        own = documents[queries, None] == documents[None, block]
        alike = labels[queries, None] == labels[None, block]
        for at, (combine, alpha) in enumerate(ways):
            found = _scores(combine, alpha, cos_h, cos_r, halves.norms[queries], halves.norms[block])
            found[own] = -np.inf
            both = np.concatenate([scores[at], found], axis=1)
            first = np.argpartition(-both, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            scores[at] = np.take_along_axis(both, first, axis=1)
            same[at] = np.take_along_axis(np.concatenate([same[at], alike], axis=1), first, axis=1)
    return same.mean(axis=2)


def _scores(
    combine: str,
    alpha: float | None,
    cos_h: NDArray[np.float32],
    cos_r: NDArray[np.float32],
    query_norms: NDArray[np.float32],
    norms: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What orders the documents [q, rows]."""
    if combine == "hs":
        return cos_h.copy()
    if combine == "rw":
        return cos_r.copy()
    if combine == "sum":
        return (cos_h + (alpha or 0.0) * cos_r).astype(np.float32)
    shares = norms / np.maximum(np.linalg.norm(norms, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    weighted = query_norms[:, :1] * shares[None, :, 0] * cos_h + query_norms[:, 1:] * shares[None, :, 1] * cos_r
    return weighted.astype(np.float32)


def _measured(
    ways: Sequence[tuple[str, float | None]], hits: NDArray[np.float64], used: NDArray[np.float64]
) -> list[Way]:
    from scipy.stats import norm

    deviations = float(norm.ppf(1 - (1 - CONFIDENCE) / 2 / len(ways)))
    measured: list[Way] = []
    for (combine, alpha), mine in zip(ways, hits, strict=True):
        difference = mine - used
        error = float(difference.std(ddof=1)) / math.sqrt(len(used)) if len(used) > 1 else math.inf
        measured.append(Way(combine, alpha, float(mine.mean()), float(difference.mean()), deviations * error))
    return measured
