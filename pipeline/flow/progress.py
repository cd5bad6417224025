"""Progress: what a command is at, and for how long; of an embedding also documents, tokens, rate, time left, rejects.

On a terminal one line that moves; elsewhere (a log file, a Ray job's output) a line for each phase and one every
`LOG_SECONDS`.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from pipeline.wording import counted

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Listener", "Quiet", "TerminalProgress"]

LOG_SECONDS: Final = 10.0


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
    """Follows a command on stderr, or on the console given. Use as a context manager.

    Args:
        console: where to.
        patience: seconds for which a log is told nothing: a command that takes no longer needs no progress there.
    """

    def __init__(self, console: Console | None = None, *, patience: float = 0.0) -> None:
        self._console = console or Console(stderr=True)
        self._patience = patience
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._phase = ""
        self._done = self._tokens = self._rejects = 0
        self._rows: int | None = None
        self._entered = self._began = self._phase_began = 0.0
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._entered = time.monotonic()
        self._progress.start()
        if not self._console.is_terminal:
            threading.Thread(target=self._log, name="progress", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._progress.stop()

    def phase(self, name: str) -> None:
        """See `Listener`."""
        if name == self._phase:
            return
        self._phase, self._phase_began = name, time.monotonic()
        if self._console.is_terminal:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name, total=None, figures="")
        elif self._phase_began - self._entered >= self._patience:
            self._print(f"{name} …")

    def start(self, rows: int | None) -> None:
        """See `Listener`."""
        self.phase("embedding")
        self._rows = None if rows is None else self._done + rows
        self._began = self._began or time.monotonic()
        if self._task is not None:
            self._progress.update(self._task, total=self._rows)

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """See `Listener`."""
        self._done += rows
        self._tokens += tokens
        self._rejects += rejects
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, figures=self._figures())

    def _log(self) -> None:
        if self._patience and not self._ended.wait(self._patience) and self._phase:
            self._print(f"{self._phase} …")
        while not self._ended.wait(LOG_SECONDS):
            seconds = time.monotonic() - self._phase_began
            self._print(self._figures() if self._done else f"{self._phase}: {seconds:.0f} s …")

    def _print(self, line: str) -> None:
        self._console.print(line, style="dim", highlight=False, markup=False)

    def _figures(self) -> str:
        rate = self._tokens / max(time.monotonic() - self._began, 1e-9)
        total = "" if self._rows is None else f"/{self._rows:,}"
        figures = f"{self._done:,}{total} documents · {counted(self._tokens, 'token')} · {rate:,.0f}/s"
        return f"{figures} · {counted(self._rejects, 'reject')}" if self._rejects else figures
