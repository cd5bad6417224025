"""Progress on a terminal: documents, tokens, rate, time left, rejects. Silent where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Listener", "Quiet", "TerminalProgress"]


class Listener(Protocol):
    """Who wants to know how a run is going."""

    def phase(self, name: str) -> None:
        """A new phase of the run begins: listing, calibrating, loading, embedding."""
        ...

    def start(self, rows: int | None) -> None:
        """Embedding begins, with `rows` of input where that is known."""
        ...

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """So much more input was read, embedded and rejected."""
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
    """A line on stderr that follows the run; where stderr is no terminal, a line for each phase.

    Use as a context manager.
    """

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
        self._tokens = self._rejects = 0

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
        if self._task is not None:
            self._progress.update(self._task, total=rows)

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """See `Listener`."""
        if self._task is None:
            return
        self._tokens += tokens
        self._rejects += rejects
        self._progress.advance(self._task, rows)
        task = self._progress.tasks[self._progress.task_ids.index(self._task)]
        rate = self._tokens / max(task.elapsed or 0, 1e-9)
        total = "" if task.total is None else f"/{task.total:,.0f}"
        figures = f"{task.completed:,.0f}{total} documents · {self._tokens:,} tokens · {rate:,.0f}/s"
        if self._rejects:
            figures += f" · {self._rejects:,} rejects"
        self._progress.update(self._task, figures=figures)
