"""What an engine is: it executes the stages of a run, or any function, and knows nothing of tables and commits.

    job ─ plan, stages ─▶ engine ─ parcels, as they are done ─▶ job ─▶ commits

Every engine keeps the same promises. Work is done in other processes than the driver's. A process that dies, or that
hangs, is started again and given the same work again, until the run's tracker says that it is enough
(`pipeline.flow.poison.tracker`). What is in flight is bounded by a count of units: the next ones enter when the driver
has taken parcels out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from pipeline.flow.encoder import Calibrated, EncoderPlan
    from pipeline.flow.parcel import Parcel
    from pipeline.flow.plan import Plan, SizedPlan
    from pipeline.flow.stages import ReadStage, Stages
    from pipeline.metrics import MetricValue
    from pipeline.table import TableLocation

__all__ = ["Engine", "EngineMapper", "Pool", "Replicas"]

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many replicas."""

    least: int
    most: int

    @classmethod
    def parse(cls, text: Any) -> Replicas | None:
        """From ``N``, ``MIN:MAX``, a pair, or what is one already; None stays None: as many as suit the devices.

        Raises:
            UsageError: not numbers, or not 1 ≤ MIN ≤ MAX.
        """
        if text is None or isinstance(text, Replicas):
            return text
        parts: Any = text if isinstance(text, tuple | list) else str(text).split(":")
        try:
            numbers = [int(part) for part in parts]
        except (TypeError, ValueError):
            numbers = []
        if len(numbers) not in {1, 2} or not 1 <= numbers[0] <= numbers[-1]:
            raise UsageError(f"replicas={text!r}: give N or MIN:MAX, with 1 ≤ MIN ≤ MAX")
        return cls(numbers[0], numbers[-1])


@dataclass(frozen=True, slots=True)
class Pool:
    """The replicas of an engine."""

    replicas: Replicas
    threads: int | None
    """CPU threads of each; None: they are on GPUs, or take what torch takes."""
    on_gpus: bool = False
    readers: int = 1
    """How many processes read and tokenize at once."""
    writers: int = 0
    """How many write at once; 0: the replicas write what they have made."""


class Engine(Protocol):
    """Executes; started and stopped as a context manager, and used by one run at a time."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def pool(self) -> Pool:
        """The replicas, once the engine has started."""
        ...

    def __enter__(self) -> Self:
        """Start.

        Raises:
            RunError: it cannot be started here.
            UsageError: this many replicas do not fit.
        """
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; no process of it lives on."""
        ...

    def track(self, location: TableLocation, run: str, *, forgive: bool) -> None:
        """Start the tracker of a run; arguments as in `Tracker`."""
        ...

    def calibrate(self, encoder: EncoderPlan, plan: Plan, read: ReadStage) -> Calibrated:
        """`pipeline.flow.encoder.calibrate`, where a replica will be.

        Raises:
            MoeeError: what it raised.
            RunError: it failed in another way, or its process died too often.
        """
        ...

    def parcels(self, sized: SizedPlan, stages: Stages) -> Iterator[Parcel]:
        """Take the plan's units through the stages; parcels as they are done, in any order.

        Closing the iterator ends the work. Errors as of `calibrate`.
        """
        ...

    def deaths(self) -> int:
        """How many deaths of its processes the run has survived so far, as far as is known."""
        ...

    def show(self, values: Iterable[MetricValue], *, last: bool = False) -> None:
        """Show what the run's metrics stand at, where the engine has a place for that; `last`: nothing will follow.

        May be called as often as one likes: what is not to be shown is not drawn from `values`.
        """
        ...

    def map(self, function: Callable[[_Given], _Made], items: Sequence[_Given]) -> Iterator[_Made]:
        """Apply a function, in processes of its own; results as they are done, in any order. Errors as of `calibrate`.

        Both must be importable by name, and harmless when they are done again: a process that dies is given its item
        again a few times.
        """
        ...


@dataclass(frozen=True, slots=True)
class EngineMapper:
    """Work in pieces on an engine, which runs meanwhile: a `pipeline.mapper.Mapper`, one core an item.

    A function that writes does so where the table is and gives back what the driver commits. One whose process dies
    runs again, and what it had written without being committed is an orphan file.
    """

    engine: Engine

    def __call__(self, work: Callable[[_Given, int], _Made], items: Sequence[_Given]) -> Iterator[_Made]:
        """The results in the order in which they are done.

        Raises:
            MoeeError: what the work raised.
            RunError: an item could not be worked on.
        """
        if items:
            with self.engine:
                yield from self.engine.map(_OnOneCore(work), items)


@dataclass(frozen=True, slots=True)
class _OnOneCore(Generic[_Given, _Made]):
    work: Callable[[_Given, int], _Made]

    def __call__(self, item: _Given) -> _Made:
        return self.work(item, 1)
