"""What parcels took: measured where the work is done, carried by the parcels, added up by the driver.

It is the one measurement of a run. Metrics, the record of the run and the stage that was waited for are made of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from pipeline.embedding.batches import BatchCounts

    T = TypeVar("T")

__all__ = ["Effort", "Turns", "timed"]


@dataclass(frozen=True, slots=True)
class Effort:
    """What some parcels took. Times are seconds of a worker's clock on the wall, added up over workers."""

    reading: float = 0.0
    """Reading and checking documents."""
    tokenizing: float = 0.0
    embedding: float = 0.0
    """For which replicas were busy."""
    starving: float = 0.0
    """For which replicas waited for the next parcel."""
    handing_over: float = 0.0
    """For which replicas waited until what they had made was taken; in the local engine they write it themselves."""
    staging: float = 0.0
    """Writing fragments."""
    batches: int = 0
    """Computed by replicas."""
    batch_tokens: int = 0
    batch_room: int = 0
    """Tokens for which these batches had room."""
    staged_bytes: int = 0

    def __add__(self, other: Effort) -> Effort:
        return Effort(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @classmethod
    def total(cls, efforts: Iterator[Self]) -> Effort:
        """The sum of any number of them."""
        return sum(efforts, cls())

    @property
    def replica_seconds(self) -> float:
        """For which replicas were there, from each one's first parcel to its last."""
        return self.embedding + self.starving + self.handing_over

    @property
    def fill(self) -> float | None:
        """How full the batches were, 0 to 1; None: there were none."""
        return self.batch_tokens / self.batch_room if self.batch_room else None


class Turns:
    """The turns of a replica: it waits for a parcel, works on it, and waits until what it has made is taken.

    What it waits for before its first turn is start-up and counts for nothing.

    Args:
        batches: what its encoder has computed so far.
    """

    def __init__(self, batches: BatchCounts) -> None:
        self._batches, self._before = batches, replace(batches)
        self._began = self._ended = 0.0
        self._taken: float | None = None

    def begin(self) -> None:
        """A parcel is there."""
        self._before, self._began = replace(self._batches), time.perf_counter()

    def end(self) -> Effort:
        """It is made; what that took, and what was waited for since the last one was made."""
        ended, taken = time.perf_counter(), self._taken
        starving, handing_over = (0.0, 0.0) if taken is None else (self._began - taken, taken - self._ended)
        done, before = self._batches, self._before
        self._ended = ended
        return Effort(
            embedding=ended - self._began,
            starving=starving,
            handing_over=handing_over,
            batches=done.batches - before.batches,
            batch_tokens=done.tokens - before.tokens,
            batch_room=done.room - before.room,
        )

    def taken(self) -> None:
        """Somebody has taken it."""
        self._taken = time.perf_counter()


def timed(items: Iterator[T]) -> Iterator[tuple[T, float]]:
    """Items, each with the seconds that it took to come."""
    while True:
        began = time.perf_counter()
        try:
            item = next(items)
        except StopIteration:
            return
        yield item, time.perf_counter() - began
