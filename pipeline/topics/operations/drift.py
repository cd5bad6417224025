"""How far a table has moved away from its topics since they were fitted, and what is to be done about it.

Both sides, the documents of the fit and those added since, are judged by the same rule (nearest topic, floor), because
a fit leaves many more documents outside than the rule does. Pure functions on arrays.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Action", "Decision", "Drift", "Tally", "Thresholds", "decide", "divergence"]

Action = Literal["nothing", "births", "refit"]

FEWEST: Final = 10
"""Documents that a topic must have on both sides for its shift to be measured."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Documents by nearest topic.

    `accepted` int64 [k] reach their topic's floor, `similarity` float64 [k] is the sum of their similarities to its
    centroid, `rejected` documents reach no floor.
    """

    accepted: NDArray[np.int64]
    similarity: NDArray[np.float64]
    rejected: int

    @classmethod
    def of(cls, nearest: NDArray[np.intp], score: NDArray[np.float32], floor: NDArray[np.float32]) -> Tally:
        """Count n documents, given the index of the `nearest` of k topics [n], the `score` with it [n], `floor` [k]."""
        inside = score >= floor[nearest]
        near, weights = nearest[inside], score[inside].astype(np.float64)
        similarity = np.bincount(near, weights=weights, minlength=len(floor)).astype(np.float64)
        return cls(np.bincount(near, minlength=len(floor)), similarity, int(np.sum(~inside)))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.accepted + other.accepted, self.similarity + other.similarity, self.rejected + other.rejected)

    @property
    def documents(self) -> int:
        """All documents counted."""
        return int(self.accepted.sum()) + self.rejected

    @property
    def reject_rate(self) -> float:
        """Share of documents that reach no floor; 0 without documents."""
        return self.rejected / max(self.documents, 1)

    @property
    def mean(self) -> NDArray[np.float64]:
        """float64 [k]: mean similarity of the accepted documents (0 where there are none)."""
        return self.similarity / np.maximum(self.accepted, 1)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When assigning is not enough. The figures are rules of thumb, not measurements."""

    rejects: float = 2.0
    """Refit when the added documents are rejected at more than so many times the rate of the fitted ones."""
    divergence: float = 0.1
    """Refit when the topics' shares have moved so far (Jensen-Shannon, bits)."""
    growth: float = 0.5
    """Refit when the table has grown by this share of what was fitted."""
    births: int = 500
    births_per_min_size: int = 20
    """Cluster the rejects when there are so many new ones: the larger of `births` and a multiple of the least size."""

    def enough(self, min_cluster_size: int) -> int:
        """How many rejects are worth clustering."""
        return max(self.births, self.births_per_min_size * min_cluster_size, 1)


@dataclass(frozen=True, slots=True)
class Drift:
    """What was measured; rates and shares in [0, 1], `divergence` in bits, `shifts` in MADs of the topic.

    `fitted` documents belong to the last full fit, `added` came since, `rejects` of them are in no topic, and
    `fresh_rejects` of these were not there when rejects were last clustered.
    """

    fitted: int
    added: int
    baseline: float
    reject_rate: float
    rejects: int
    fresh_rejects: int
    divergence: float
    growth: float
    shifts: dict[int, float] = field(default_factory=dict)

    @classmethod
    def between(
        cls,
        fitted: Tally,
        added: Tally,
        *,
        ids: NDArray[np.int64],
        mad: NDArray[np.float32],
        fresh_rejects: int | None = None,
    ) -> Drift:
        """Compare the documents of the fit with those added since.

        Args:
            fitted: of k topics.
            added: of the same topics.
            ids: int64 [k], what the topics are called.
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
    """What to do beyond assigning, and the reasons in words."""

    action: Action
    reasons: tuple[str, ...]


def decide(drift: Drift, thresholds: Thresholds, min_cluster_size: int, *, may_refit: bool = True) -> Decision:
    """What the figures call for.

    A refit where the table as a whole has changed; else births where there are enough rejects to look for new topics;
    else a refit where that was done and the rejects are still too many.

    Args:
        drift: what was measured.
        thresholds: the limits.
        min_cluster_size: of the fit.
        may_refit: False: only births are considered.
    """
    whole = [
        f"{name} is {value:.{digits}f}, above {limit:g}"
        for name, value, limit, digits in (
            ("the table's growth since the fit", drift.growth, thresholds.growth, 2),
            ("the divergence of the topics' shares", drift.divergence, thresholds.divergence, 3),
        )
        if value > limit
    ]
    if whole and may_refit:
        return Decision("refit", tuple(whole))
    enough = thresholds.enough(min_cluster_size)
    if drift.fresh_rejects >= enough:
        return Decision("births", (f"{drift.fresh_rejects:,} new rejects, {enough:,} are enough to cluster",))
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


def _shifts(fitted: Tally, added: Tally, ids: NDArray[np.int64], mad: NDArray[np.float32]) -> dict[int, float]:
    measurable = np.minimum(fitted.accepted, added.accepted) >= FEWEST
    moved = (added.mean - fitted.mean) / np.maximum(mad, np.finfo(np.float32).eps)
    return {int(topic): round(float(shift), 3) for topic, shift in zip(ids[measurable], moved[measurable], strict=True)}
