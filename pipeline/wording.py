"""How numbers and values are said to people."""

from __future__ import annotations

from reprlib import Repr
from typing import Any, Final

__all__ = ["brief", "counted"]

_BRIEF: Final = Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80
_MOST: Final = 160


def counted(number: int, noun: str) -> str:
    """``1 file``, ``2,000 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def brief(value: Any) -> str:
    """`value` as a message shows it: on one line, however long it is, and with nothing that moves a cursor."""
    said = " ".join(_BRIEF.repr(value).split())
    return said if len(said) <= _MOST else f"{said[: _MOST - 1]}…"
