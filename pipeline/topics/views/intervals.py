"""Intervals of a time axis: units of the calendar, or round numbers. Pure functions on arrays.

Intervals are numbered without gaps: the intervals between two others have the numbers between theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MAX_NUMBER", "MIN_BINS", "Intervals", "number_intervals", "time_intervals"]

MIN_BINS: Final = 2
"""One interval is not enough for a range with negative and positive numbers."""
MAX_NUMBER: Final = 10**15
"""Larger numbers are no times; round numbers to cut them at would overflow."""

_MINUTE: Final = 60_000_000
"""Microseconds."""
_DAY: Final = 1440 * _MINUTE
_MONDAY: Final = 4 * _DAY
"""1970-01-05."""
_YEAR_0: Final = 12 * 1970
"""Months before 1970, so that decades begin with a round year."""

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Intervals:
    """A way to cut an axis."""

    number: Callable[[Integers], Integers]
    """Values → numbers of their intervals."""
    start: Callable[[Integers], Integers]
    """Numbers of intervals → the values at which they begin."""


def time_intervals(first: int, last: int, most: int) -> Intervals:
    """Cut microseconds since 1970 by the finest calendar unit that gives up to `most` intervals."""
    return _fitting(_calendar(), first, last, most)


def number_intervals(first: int, last: int, most: int) -> Intervals:
    """Cut whole numbers by the finest width of 1, 2, 5, 10, 20, 50, … that gives up to `most` intervals."""
    return _fitting((_even(base * 10**power) for power in count() for base in (1, 2, 5)), first, last, most)


def _fitting(candidates: Iterator[Intervals], first: int, last: int, most: int) -> Intervals:
    ends = np.array([first, last], dtype=np.int64)
    return next(candidate for candidate in candidates if np.ptp(candidate.number(ends)) < most)


def _calendar() -> Iterator[Intervals]:
    for minutes in (1, 5, 15, 60, 360, 1440):
        yield _even(minutes * _MINUTE)
    yield _even(7 * _DAY, _MONDAY)
    for months in (1, 3):
        yield _months(months)
    for power in count():
        for base in (1, 2, 5):
            yield _months(12 * base * 10**power)


def _even(width: int, origin: int = 0) -> Intervals:
    return Intervals(lambda values: (values - origin) // width, lambda numbers: numbers * width + origin)


def _months(width: int) -> Intervals:
    def number(values: Integers) -> Integers:
        return (values.astype("M8[us]").astype("M8[M]").astype(np.int64) + _YEAR_0) // width

    def start(numbers: Integers) -> Integers:
        return (numbers * width - _YEAR_0).astype("M8[M]").astype("M8[us]").astype(np.int64)

    return Intervals(number, start)
