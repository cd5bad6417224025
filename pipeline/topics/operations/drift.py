"""Drift: how far a table has moved away from its topics since they were fitted, and what to do about it.

The fitted documents and those added since are judged by the same rule (nearest topic, floor), because a fit leaves many
more documents outside than the rule does. Pure functions on arrays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Action", "Decision", "Drift", "NearestCounts", "Thresholds", "decide", "divergence"]

Action = Literal["nothing", "births", "refit"]

MIN_DOCUMENTS_FOR_SHIFT: Final = 10
"""Fitted and added documents that a topic needs, each, for its shift to be measured."""


@dataclass(frozen=True, slots=True)
class NearestCounts:
    """Documents by nearest of k topics."""

    accepted: NDArray[np.int64]
    """int64 [k]: documents that reach the floor of their nearest topic."""
    similarity: NDArray[np.float64]
    """float64 [k]: sum of their similarities to its centroid."""
    rejected: int
    """Documents that do not reach the floor of their nearest topic."""

    @classmethod
    def of(cls, nearest: NDArray[np.intp], score: NDArray[np.float32], floor: NDArray[np.float32]) -> NearestCounts:
        """Count n documents by the index of their `nearest` topic [n] and the `score` with it [n]; `floor` is [k]."""
        inside = score >= floor[nearest]
        near, weights = nearest[inside], score[inside].astype(np.float64)
        similarity = np.bincount(near, weights=weights, minlength=len(floor)).astype(np.float64)
        return cls(np.bincount(near, minlength=len(floor)), similarity, int(np.sum(~inside)))

    def __add__(self, other: NearestCounts) -> NearestCounts:
        return NearestCounts(
            self.accepted + other.accepted, self.similarity + other.similarity, self.rejected + other.rejected
        )

    @property
    def documents(self) -> int:
        """All documents counted."""
        return int(self.accepted.sum()) + self.rejected

    @property
    def reject_rate(self) -> float:
        """Share of rejected documents; 0 without documents."""
        return self.rejected / max(self.documents, 1)

    @property
    def mean(self) -> NDArray[np.float64]:
        """float64 [k]: mean similarity of the accepted documents (0 where there are none)."""
        return self.similarity / np.maximum(self.accepted, 1)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to do more than assign. Chosen, not measured."""

    rejects: float = 2.0
    """Refit when the reject rate of the added documents is above this multiple of the fitted documents' rate."""
    divergence: float = 0.1
    """Refit when the Jensen-Shannon divergence of the topics' shares is above this, in bits."""
    growth: float = 0.5
    """Refit when there are more added documents than this share of the fitted ones."""
    births: int = 500
    """Look for new topics from this number of fresh rejects on."""
    births_per_min_size: int = 20
    """The same number as a multiple of the recipe's `min_cluster_size`; the larger one counts."""

    def enough(self, min_cluster_size: int) -> int:
        """How many fresh rejects are worth a search for new topics."""
        return max(self.births, self.births_per_min_size * min_cluster_size, 1)


@dataclass(frozen=True, slots=True)
class Drift:
    """What was measured."""

    fitted: int
    """Documents of the last full fit."""
    added: int
    """Documents added since."""
    baseline: float
    """Share of the fitted documents that are rejected, in [0, 1]."""
    reject_rate: float
    """Share of the added documents that are rejected, in [0, 1]."""
    rejects: int
    """Added documents that are rejected."""
    fresh_rejects: int
    """Those of them that came after the last search for new topics."""
    divergence: float
    """Between the topics' shares at the fit and now, in bits."""
    growth: float
    """Added documents per fitted one."""
    shifts: dict[int, float] = field(default_factory=dict)
    """Topic → how much its mean similarity has moved, in MADs of the topic."""

    @classmethod
    def between(
        cls,
        fitted: NearestCounts,
        added: NearestCounts,
        *,
        ids: NDArray[np.int64],
        mad: NDArray[np.float32],
        fresh_rejects: int | None = None,
    ) -> Drift:
        """Compare the documents of the fit with those added since.

        Args:
            fitted: of k topics.
            added: of the same topics.
            ids: int64 [k], the topics' ids.
            mad: float32 [k], the unit of a topic's shift.
            fresh_rejects: None: all rejects are fresh.
        """
        return cls(
            fitted=fitted.documents,
            added=added.documents,
            baseline=fitted.reject_rate,
            reject_rate=added.reject_rate,
            rejects=added.rejected,
            fresh_rejects=added.rejected if fresh_rejects is None else fresh_rejects,
            divergence=divergence(fitted.accepted, fitted.accepted + added.accepted),
            growth=added.documents / max(fitted.documents, 1),
            shifts=_shifts(fitted, added, ids, mad),
        )

    def to_json(self) -> dict[str, Any]:
        """As stored with the model and printed."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do beyond assigning."""

    action: Action
    """Nothing, look for new topics, or refit."""
    reasons: tuple[str, ...]
    """Why, in words."""


def decide(drift: Drift, thresholds: Thresholds, min_cluster_size: int, *, may_refit: bool = True) -> Decision:
    """Decide by the figures of a drift.

    Args:
        drift: what was measured.
        thresholds: the limits.
        min_cluster_size: of the fit.
        may_refit: False: a refit is not considered.
    """
    # First: has the table as a whole changed? Then old topics mean little, and new ones would be looked for in vain.
    changed = [
        f"{name} is {value:.{digits}f}, above {limit:g}"
        for name, value, limit, digits in (
            ("the table's growth since the fit", drift.growth, thresholds.growth, 2),
            ("the divergence of the topics' shares", drift.divergence, thresholds.divergence, 3),
        )
        if value > limit
    ]
    if changed and may_refit:
        return Decision("refit", tuple(changed))
    # Second: are there enough rejects that no search has seen? A search is much cheaper than a refit.
    enough = thresholds.enough(min_cluster_size)
    if drift.fresh_rejects >= enough:
        return Decision("births", (f"{drift.fresh_rejects:,} new rejects, {enough:,} are enough to cluster",))
    # Third: the rejects were searched and are still too many, so the topics themselves no longer fit.
    rate, limit = drift.reject_rate, thresholds.rejects * drift.baseline
    if may_refit and drift.rejects >= enough and rate > limit:
        return Decision("refit", (f"{rate:.1%} of the added documents are rejected, above {limit:.1%}",))
    return Decision("nothing", ("no threshold is passed",))


def divergence(p: NDArray[np.int64], q: NDArray[np.int64]) -> float:
    """Jensen-Shannon divergence of two distributions given as counts [k], in bits: 0 equal, 1 disjoint.

    0 where either has no documents. Lin, Divergence measures based on the Shannon entropy (1991), eq. 3.3.
    """
    if not p.sum() or not q.sum():
        return 0.0
    first, second = p / p.sum(), q / q.sum()
    value = _entropy((first + second) / 2) - (_entropy(first) + _entropy(second)) / 2
    return float(np.clip(value, 0, 1))


def _entropy(shares: NDArray[np.float64]) -> float:
    positive = shares[shares > 0]
    return float(-(positive * np.log2(positive)).sum())


def _shifts(
    fitted: NearestCounts, added: NearestCounts, ids: NDArray[np.int64], mad: NDArray[np.float32]
) -> dict[int, float]:
    measurable = np.minimum(fitted.accepted, added.accepted) >= MIN_DOCUMENTS_FOR_SHIFT
    moved = (added.mean - fitted.mean) / np.maximum(mad, np.finfo(np.float32).eps)
    return {int(topic): round(float(shift), 3) for topic, shift in zip(ids[measurable], moved[measurable], strict=True)}
