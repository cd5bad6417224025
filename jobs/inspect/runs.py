"""``moee inspect --runs`` and ``--watch``: the runs of a table, and the one that is at work on it now."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

from jobs.command import printable
from pipeline.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.command import Output
    from pipeline.table import TableLocation

__all__ = ["show_runs", "watch_run"]

LOOK_SECONDS: Final = 2.0
LOG_SECONDS: Final = 10.0
"""How often a run that is under way is looked at, which tells how far it is every five: on a terminal, and in a log."""

_COLUMNS: Final = ("run", "status", "documents", "tokens", "rejects", "seconds", "tokens/s", "waited for", "what else")


def show_runs(console: Console, runs: list[dict[str, Any]]) -> None:
    """A line for each of `runs` (`VectorTable.info`), oldest first."""
    if not runs:
        console.print("no runs")
        return
    view = Table(box=None, pad_edge=False)
    for name in _COLUMNS:
        is_text = name in {"run", "status", "waited for", "what else"}
        widest = max(len(run["run"]) for run in runs) if name == "run" else None  # one that is cut names no run
        view.add_column(name, justify="left" if is_text else "right", min_width=widest)
    for run in runs:
        view.add_row(*map(printable, _cells(run)))
    console.print(view)


def _cells(run: dict[str, Any]) -> list[str]:
    counts = [f"{run[name] or 0:,}" for name in ("documents", "tokens", "rejects")]
    seconds = run["seconds"] or 0.0
    embedding = seconds - (run["startup_seconds"] or 0.0) - (run["index_seconds"] or 0.0)
    rate = f"{(run['tokens'] or 0) / embedding:,.0f}" if run["tokens"] and embedding > 0 else ""
    return [run["run"], run["status"], *counts, f"{seconds:,.1f}", rate, _waited_for(run), "; ".join(_what_else(run))]


def _waited_for(run: dict[str, Any]) -> str:
    stage = run["waited_for"]
    if stage is None:
        return ""
    return f"{stage} ({json.loads(run['stages'])[stage]['load']:.0%})"


def _what_else(run: dict[str, Any]) -> list[str]:
    """What is out of the ordinary."""
    told: list[str] = []
    if run["error"]:
        told.append(run["error"])
    if run["deaths"]:
        told.append(f"{counted(run['deaths'], 'death')} of workers survived")
    if run["swap_retries"]:
        told.append(f"{run['swap_retries']:,} commits tried again")
    if run["estimate"] is not None:
        expected = json.loads(run["estimate"])
        told.append(f"planned {expected['least_seconds']:,.0f} to {expected['most_seconds']:,.0f} s")
    if run["cost"] is not None:
        told.append(f"cost {run['cost']:,.2f}")
    return told


def watch_run(location: TableLocation, output: Output) -> dict[str, Any]:
    """Show how the run that is at work on a table is going, until it ends; the table may not be made yet.

    Returns:
        The table and the record of the run, or of the last one where none is at work.

    Raises:
        TableNotFoundError: there is no table, and nobody is making it.
    """
    from pipeline.table.companions.lease import read_holder, read_progress

    run = ""
    console = output.progress
    with console.status("looking") as status:
        while True:
            holder = read_holder(location)
            if holder is None or holder.is_gone or holder.is_silent or run not in {"", holder.run}:
                break
            run = holder.run
            line = printable(f"{run} on {holder.host}: {_how_far(read_progress(location))}")
            if console.is_terminal:
                status.update(Text(line))
            else:
                console.print(line, style="dim", markup=False)
            time.sleep(LOOK_SECONDS if console.is_terminal else LOG_SECONDS)
    return {"table": str(location), "run": _ended(location, run, output)}


def _ended(location: TableLocation, run: str, output: Output) -> dict[str, Any] | None:
    """Show the record of `run`, which has ended, or of the last one."""
    from pipeline.table import VectorTable

    runs = VectorTable.open(location).info()["runs"]
    found: dict[str, Any] | None = next((row for row in reversed(runs) if run in {"", row["run"]}), None)
    if not run:
        output.people.print("no run is at work" + ("; the last one:" if found else ", and none was"))
    if found is not None:
        show_runs(output.people, [found])
        if found["advice"]:
            output.people.print(f"quicker with {found['advice']}", markup=False)
    return found


def _how_far(told: dict[str, Any] | None) -> str:
    """One line about a run that is under way."""
    if told is None:
        return "at work"
    if not told["read"]:
        return f"{told['phase']} · {_duration(told['seconds'])} since it began"
    of = f"/{told['planned']:,}" if told["planned"] else ""
    parts = [f"{told['phase']}: {told['read']:,}{of} rows", f"{told['documents']:,} documents committed"]
    if told["rows_per_second"]:
        parts.append(f"{told['rows_per_second']:,.1f} rows/s")
    if told["rejects"]:
        parts.append(counted(told["rejects"], "reject"))
    if told["seconds_left"] is not None:
        parts.append(f"{_duration(told['seconds_left'])} left")
    if told["waited_for"]:
        parts.append(f"waits mostly for {told['waited_for']}")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
