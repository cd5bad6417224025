"""Dates, times, instants and durations as people write them, as the numbers that Arrow holds.

ISO 8601 with years of any length, and durations as a number with its unit: the forms that `pipeline.values` shows. All
arithmetic is in whole nanoseconds, which Python's integers hold; what is no whole number of the column's units does not
fit, and is never rounded.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.values import UNITS

__all__ = ["count_of"]

_SECOND: Final = UNITS["ns"]
_DAY: Final = 86400 * _SECOND
_LENGTHS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": _SECOND, "m": 60 * _SECOND, "h": 3600 * _SECOND, "d": _DAY}

_DATE: Final = r"(?P<date>(?:\+?\d{4,12}|-\d{1,12})-\d\d-\d\d)"
_CLOCK: Final = r"(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
_ZONE: Final = r"(?P<zone>Z|[+-]\d\d(?::?\d\d)?)"
_TIME: Final = re.compile(_CLOCK, re.ASCII)
_INSTANT: Final = re.compile(rf"{_DATE}(?:[T ]{_CLOCK}{_ZONE}?)?", re.ASCII)
_LENGTH: Final = r"(?P<sign>-?)(?P<whole>\d{1,19})(?:\.(?P<fraction>\d{1,9}))? ?(?P<unit>[a-z]{1,2})"
_DURATION: Final = re.compile(_LENGTH, re.ASCII)


def count_of(text: str, kind: pa.DataType) -> int | None:
    """What `text` is in the units of `kind`, a type of dates, times, instants or durations.

    Returns:
        Units since the epoch or midnight, or of the duration's length; None where `text` says no value of that type.
    """
    if pa.types.is_duration(kind):
        found, unit = _duration(text), _SECOND // UNITS[kind.unit]
    elif pa.types.is_time(kind):
        found, unit = _time(text), _SECOND // UNITS[kind.unit]
    elif pa.types.is_timestamp(kind):
        found, unit = _instant(text, zoned=kind.tz is not None), _SECOND // UNITS[kind.unit]
    else:
        found, unit = _instant(text, zoned=False), _DAY
        if pa.types.is_date64(kind) and found is not None and found % _DAY == 0:
            unit = _SECOND // UNITS["ms"]
    return None if found is None or found % unit else found // unit


def _instant(text: str, *, zoned: bool) -> int | None:
    """Nanoseconds since the epoch."""
    parts = _INSTANT.fullmatch(text)
    if parts is None or (parts["zone"] is not None) != zoned:
        return None
    try:
        days = int(np.datetime64(parts["date"], "D").astype(np.int64))
    except ValueError:  # no such month or day
        return None
    clock = 0 if parts["hour"] is None else _clock(parts)
    return None if clock is None else days * _DAY + clock - _offset(parts["zone"])


def _offset(zone: str | None) -> int:
    if zone is None or zone == "Z":
        return 0
    digits = zone[1:].replace(":", "")
    minutes = 60 * int(digits[:2]) + int(digits[2:] or 0)
    return (-minutes if zone[0] == "-" else minutes) * 60 * _SECOND


def _time(text: str) -> int | None:
    parts = _TIME.fullmatch(text)
    return None if parts is None else _clock(parts)


def _clock(parts: re.Match[str]) -> int | None:
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        return None
    return ((hour * 60 + minute) * 60 + second) * _SECOND + _fraction(parts["fraction"])


def _duration(text: str) -> int | None:
    parts = _DURATION.fullmatch(text)
    if parts is None or parts["unit"] not in _LENGTHS:
        return None
    length = _LENGTHS[parts["unit"]]
    part, rest = divmod(_fraction(parts["fraction"]) * length, _SECOND)
    if rest:
        return None
    total = int(parts["whole"]) * length + part
    return -total if parts["sign"] else total


def _fraction(digits: str | None) -> int:
    """Billionths."""
    return int(f"{digits or '0':0<9}")
