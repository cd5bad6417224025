"""Topic work on an engine: an item for each unit of the table, parts as they come.

A function writes its rows where the table is and gives back what the driver commits. One whose process dies runs again,
and what it had written without being committed is an orphan file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.flow.engines.base import Engine
    from pipeline.topics.operations.assign import Part, Unit, UnitFunction

__all__ = ["EngineMapper"]


@dataclass(frozen=True, slots=True)
class EngineMapper:
    """A `pipeline.topics.operations.assign.Mapper` on an engine, which runs while it works: one core a unit."""

    engine: Engine

    def __call__(self, work: UnitFunction, units: Sequence[Unit]) -> Iterator[Part]:
        """The parts in the order in which they are done.

        Raises:
            MoeeError: what the work raised.
            RunError: a unit could not be worked on.
        """
        if units:
            with self.engine:
                yield from self.engine.map(_OnOneCore(work), units)


@dataclass(frozen=True, slots=True)
class _OnOneCore:
    work: UnitFunction

    def __call__(self, unit: Unit) -> Part:
        return self.work(unit, 1)
