"""Work in pieces: one function on many items, in this process or on an engine.

A function that works on an item is told how many threads it may use. A `Mapper` runs it on all items: `in_this_process`
one after the other on all cores, an engine (`pipeline.flow.engines.base`) many at once, on a core each.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Mapper", "available_cores", "in_this_process"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Mapper(Protocol):
    """Runs a function on all items."""

    def __call__(self, work: Callable[[_Item, int], _Result], items: Sequence[_Item], /) -> Iterator[_Result]:
        """The results, in any order, as they are ready; `work` takes an item and a number of threads."""
        ...


def in_this_process(work: Callable[[_Item, int], _Result], items: Sequence[_Item]) -> Iterator[_Result]:
    """One item after the other, on all cores."""
    for item in items:
        yield work(item, available_cores())


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
