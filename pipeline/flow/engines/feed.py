"""The feed: work units enter the graph as they are planned, and never far ahead of what the driver has taken out.

    plan ─▶ [width units in flight: read, embedded, written, waiting] ─▶ driver ─ release ─▶ the gate lets more in

A plan of at most `width` units is simply handed over. A longer one is drawn up by the graph's first task, one unit at
a time, and a gate (an actor) keeps that task from running ahead. So reading, writing and the driver's memory are
bounded by a count, whatever the sizes of Ray's blocks: descriptions of written fragments are too small for Ray's own
back-pressure, which counts bytes in the object store, to hold back the files that they stand for.

The gate knows positions in the plan and totals only: a task that is repeated asks for the same positions, and an actor
that is restarted learns the total with the next release. Releases are acknowledged, so none is lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import ray
from ray.data import TaskPoolStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.flow.plan import Plan, SizedPlan

__all__ = ["Feed", "Gate", "PlanStage"]

PATIENCE_SECONDS: Final = 60.0
"""A gate that has never heard of a release lets one more unit in after that time: it may have been restarted when all
that it had let in was done."""

_PLANNING_CPUS: Final = 0.01
"""Not that of reading, or Ray would fuse the two into one task that reads everything by itself."""


@dataclass(slots=True)
class Feed:
    """What a graph reads."""

    sized: SizedPlan
    width: int
    """Units in flight at most."""
    _gate: Any = None
    _released: int = 0

    @classmethod
    def of(cls, sized: SizedPlan, width: int) -> Feed:
        """A feed with a gate, if the plan needs one."""
        fits = sized.units is not None and sized.units <= width
        return cls(sized, width, None if fits else _gate_actor(width))

    def dataset(self) -> ray.data.Dataset:
        """Blocks of one row, column ``unit``: a work unit as JSON."""
        if self._gate is None:
            lines = [{"unit": unit.to_json()} for unit in self.sized.plan]
            return ray.data.from_items(lines, override_num_blocks=len(lines))
        return ray.data.from_items([0]).map_batches(
            PlanStage(self.sized.plan, self.width, self._gate),
            batch_format="pyarrow",
            compute=TaskPoolStrategy(size=1),
            num_cpus=_PLANNING_CPUS,
        )

    def release(self, units: int) -> None:
        """That many units have come out of the graph and are in the committer's hands."""
        self._released += units
        if units and self._gate is not None:
            ray.get(self._gate.release.remote(self._released))


@dataclass(frozen=True, slots=True)
class PlanStage:
    """Anything → the plan's units, column ``unit``, a block each, as the gate lets them in."""

    plan: Plan
    width: int
    gate: Any

    def __call__(self, _: pa.Table) -> Iterator[pa.Table]:
        """Yields the same blocks whenever it is called."""
        allowed: Any = self.width
        for position, unit in enumerate(self.plan):
            if position >= allowed:
                allowed = ray.get(self.gate.wait.remote(position))
            yield pa.table({"unit": [unit.to_json()]})


class Gate:
    """Lets in `width` units more than were released."""

    def __init__(self, width: int, patience: float = PATIENCE_SECONDS) -> None:
        self._allowed, self._width, self._patience = width, width, patience
        self._moved = asyncio.Event()
        self._heard = False

    async def release(self, total: int) -> None:
        """`total` units were released since the run began."""
        self._allowed = max(self._allowed, total + self._width)
        self._heard = True
        self._moved.set()

    async def wait(self, position: int) -> int:
        """Return, once the unit at `position` may be let in, how many may."""
        while position >= self._allowed:
            self._moved.clear()
            try:
                await asyncio.wait_for(self._moved.wait(), self._patience)
            except TimeoutError:
                if not self._heard:
                    self._allowed += 1
        return self._allowed


def _gate_actor(width: int) -> Any:
    actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Gate)
    return actor.remote(width)
