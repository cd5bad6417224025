"""Progress: documents, tokens, rate, time left, rejects.

On a terminal one line that moves; elsewhere (a log file, a Ray job's output) a line for each phase and one every
`LOG_SECONDS`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Listener", "Quiet", "TerminalProgress"]

LOG_SECONDS: Final = 30.0


class Listener(Protocol):
    """Is told how a run is going."""

    def phase(self, name: str) -> None:
        """A new phase of the run begins: listing, calibrating, loading, embedding."""
        ...

    def start(self, rows: int | None) -> None:
        """Embedding begins, or goes on, with `rows` of input where that is known."""
        ...

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """More input was read, embedded and rejected."""
        ...


class Quiet:
    """Listens to nothing."""

    def phase(self, name: str) -> None:
        """See `Listener`."""

    def start(self, rows: int | None) -> None:
        """See `Listener`."""

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """See `Listener`."""


class TerminalProgress:
    """Follows a run on stderr, or on the console given. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._done = self._tokens = self._rejects = 0
        self._rows: int | None = None
        self._began = self._printed = 0.0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def phase(self, name: str) -> None:
        """See `Listener`."""
        if not self._console.is_terminal:
            self._console.print(f"{name} …", style="dim", highlight=False)
            return
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(name, total=None, figures="")

    def start(self, rows: int | None) -> None:
        """See `Listener`."""
        self.phase("embedding")
        self._rows = None if rows is None else self._done + rows
        self._printed = time.monotonic()
        self._began = self._began or self._printed
        if self._task is not None:
            self._progress.update(self._task, total=self._rows)

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """See `Listener`."""
        self._done += rows
        self._tokens += tokens
        self._rejects += rejects
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, figures=self._figures())
        elif time.monotonic() - self._printed >= LOG_SECONDS:
            self._printed = time.monotonic()
            self._console.print(self._figures(), style="dim", highlight=False)

    def _figures(self) -> str:
        rate = self._tokens / max(time.monotonic() - self._began, 1e-9)
        total = "" if self._rows is None else f"/{self._rows:,}"
        figures = f"{self._done:,}{total} documents · {self._tokens:,} tokens · {rate:,.0f}/s"
        return f"{figures} · {self._rejects:,} rejects" if self._rejects else figures
