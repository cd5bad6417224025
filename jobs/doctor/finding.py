"""What a check found: one line, and for everything but good news why it matters and what to type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Finding", "State", "ok", "show", "size"]

State = Literal["ok", "note", "problem"]

_STYLES = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """What is there."""
    state: State
    """``problem``: a command will fail or be unsafe; ``note``: it will be slower, or may surprise."""
    why: str = ""
    """Why it matters."""
    do: str = ""
    """What to type."""


def ok(what: str) -> Finding:
    """Good news."""
    return Finding(what, "ok")


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def show(console: Console, subject: str, findings: list[Finding]) -> None:
    """A subject and what was found, for people."""
    console.print(subject, markup=False, style="bold")
    for finding in findings:
        console.print(f"  {finding.state:8}", style=_STYLES[finding.state], end="")
        console.print(f" {finding.what}", markup=False)
        if finding.why:
            console.print(f"           {finding.why}", markup=False)
        if finding.do:
            console.print(f"           → {finding.do}", markup=False)
