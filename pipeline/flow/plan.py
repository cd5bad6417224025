"""Plans: the work units of a run, in an order that is always the same.

Units are planned while they are read and never held together: what is kept of a plan is its files and, as one sorted
array, its finished slices.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from pipeline.corpus import Taper, plan
from pipeline.corpus.planner import MAX_BYTES
from pipeline.embedding.calibration import SAMPLE_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy as np

    from pipeline.corpus import ReaderOptions, SourceFile, WorkUnit

__all__ = ["MAX_CANDIDATES", "MAX_ROWS", "Plan", "PlanSize", "SizedPlan"]

MAX_ROWS: Final = 1024
"""Rows in a work unit: some seconds of a small model on a laptop's CPU, half a second of a large one on a GPU."""

UNITS_PER_PLAN: Final = 64
"""About the number of units in a plan, within these bounds: a large corpus of short texts pays little for the way of a
unit through the engine."""

SHARES_PER_REPLICA: Final = 3
"""A unit holds at most one of that many shares of what is left for each replica, so that all are busy to the end.
Longer ones are worth having: texts of similar length are computed together, 2.5 % more tokens/s with 1,024 than 256."""

MIN_ROWS: Final = 256
"""Rows in a unit of a large model on a CPU, to which even these take minutes, and of a plan's last units."""

LARGE_ROWS: Final = 4096
LARGE_BYTES: Final = 2 << 20
"""About the most bytes in a unit of more than `MAX_ROWS` rows: of long texts fewer rows are work enough."""

MAX_CANDIDATES: Final = 4 * SAMPLE_SIZE
"""Documents among which the calibration sample is drawn, in the order of the plan."""

COUNT_SECONDS: Final = 2.0
"""A plan is counted before it begins, for the time that is left, if that takes no longer."""


@dataclass(frozen=True, slots=True)
class PlanSize:
    """A plan in figures, as far as they are known beforehand."""

    units: int
    slices: int
    rows: int | None
    """None: the plan has streams, whose rows are known when they are read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Work units, planned again, and alike, each time they are iterated over; travels to where that is done."""

    files: tuple[SourceFile, ...]
    """Those that may have something left."""
    options: ReaderOptions
    done: np.ndarray
    """Ids of finished slices, int64, ascending."""
    limit: int | None = None
    """Rows after which to stop; None: all."""
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    unit_rows: int | None = None
    """Most rows in a unit, from `fitted`; None: `MAX_ROWS`."""
    taper: Taper | None = None
    """How units get smaller toward the end."""

    def __iter__(self) -> Iterator[WorkUnit]:
        """Reads the metadata of a file when its turn comes.

        Raises:
            SourceError: a storage failed.
        """
        units = plan(
            self.files,
            self.options,
            done=self.done,
            max_rows=self.max_rows if self.limit is None else min(self.max_rows, self.limit),
            max_bytes=self.max_bytes,
            taper=self.taper,
            storage_options=self.storage_options,
        )
        return units if self.limit is None else _holding(units, self.limit)

    @property
    def max_rows(self) -> int:
        """Most rows in a unit."""
        return self.unit_rows or MAX_ROWS

    @property
    def max_bytes(self) -> int:
        """About the most bytes in a unit."""
        return MAX_BYTES if self.max_rows <= MAX_ROWS else LARGE_BYTES

    def fitted(self, rows: int, replicas: int = 1, *, quick: bool = True) -> Plan:
        """The plan with units fit for `rows` rows in all and for `replicas` that are all `quick`, or all slow."""
        least = min(MIN_ROWS, MAX_ROWS)
        most = min(max(rows // UNITS_PER_PLAN, MAX_ROWS if quick else least), LARGE_ROWS)
        return replace(self, unit_rows=most, taper=Taper(rows, SHARES_PER_REPLICA * replicas, least))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return next(iter(self), None) is None

    def unlimited(self) -> Plan:
        """The plan without its limit."""
        return replace(self, limit=None)

    def size(self, seconds: float | None = None) -> PlanSize | None:
        """Count what is planned; None if that takes longer than `seconds`."""
        began = time.monotonic()
        units = slices = rows = 0
        streams = False
        for unit in self:
            units, slices, rows = units + 1, slices + len(unit.slices), rows + unit.rows
            streams = streams or any(part.slices is None for part in unit.parts)
            if seconds is not None and time.monotonic() - began > seconds:
                return None
        return PlanSize(units, slices, None if streams else rows)


@dataclass(frozen=True, slots=True)
class SizedPlan:
    """A plan whose units fit its size."""

    plan: Plan
    units: int | None
    """How many; None: very many."""
    rows: int | None
    """Rows of input in them; None: unknown."""

    @classmethod
    def of(cls, plan: Plan, replicas: int = 1, *, quick: bool = True) -> Self:
        """Count a plan, if that is quickly done, and choose how large its units are to be (`Plan.fitted`)."""
        size = plan.size(COUNT_SECONDS)
        if size is None:
            return cls(plan, None, None)
        if size.rows is None:
            return cls(plan, size.units, None)
        fitted = plan.fitted(size.rows, replicas, quick=quick)
        return cls(fitted, sum(1 for _ in fitted), size.rows)


def _holding(units: Iterable[WorkUnit], rows: int) -> Iterator[WorkUnit]:
    """The first units that together hold `rows` rows; streams count as none, since their rows are unknown."""
    held = 0
    for unit in units:
        yield unit
        held += unit.rows
        if held >= rows:
            return
