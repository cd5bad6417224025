"""``moee search TABLE`` at a terminal: query after query, the model being loaded once."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from jobs.search.hits import show_hits
from pipeline.errors import MoeeError, UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    from jobs.command import Output
    from pipeline.table import VectorTable

__all__ = ["prompt"]

_HELP: Final = """\
words            search for them
:like ID…        the neighbours of documents
:more            the next page
:mode MODE       vector, text or hybrid
:k N             hits on a page
:alpha A         weight of the routing half; without A the table's own
:where CONDITION only where it holds (year>=1990); several add up, without one all are dropped
:group COLUMN    one hit for each value; without a column all hits
:settings        what is set
:quit            or Ctrl-D"""


@dataclass
class _Session:
    table: VectorTable
    output: Output
    settings: dict[str, Any]
    """Fields of a `Question` that stay from query to query."""
    conditions: list[str] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    """The fields of the last question."""

    def answer(self, line: str) -> None:
        """Search for what a line says, or do what it commands."""
        if not line.startswith(":"):
            self._ask({"query": line})
            return
        command, _, rest = line[1:].partition(" ")
        self._command(command, rest.strip())

    def _command(self, command: str, rest: str) -> None:
        if command == "like":
            self._ask({"like": _words(rest)})
        elif command == "more":
            if not self.last:
                raise UsageError("there is no search to go on with")
            seen = self.last.get("offset", self.settings["offset"])
            self._ask({**self.last, "offset": seen + self.settings["k"]})
        elif command == "where":
            self._where(rest)
        elif command == "settings":
            self._show_settings()
        elif command == "help":
            self.output.people.print(_HELP, markup=False)
        elif command in _SETTINGS:
            self._set(command, rest)
        else:
            raise UsageError(f":{command} is no command (:help)")

    def _ask(self, question: dict[str, Any]) -> None:
        mode: Any = self.settings["mode"] if "query" in question else "vector"
        hits = self.table.search(**{**self.settings, "mode": mode, **question})
        self.last = question
        words = question.get("query") if mode != "vector" else None
        show_hits(self.output.people, hits, words=words)

    def _where(self, rest: str) -> None:
        from pipeline.table.query.conditions import condition_sql
        from pipeline.table.query.grammar import parse_conditions

        conditions = [*self.conditions, rest] if rest else []
        where = parse_conditions(conditions) or None
        _ = condition_sql(self.table.schema, where)
        self.settings, self.conditions, self.last = {**self.settings, "where": where}, conditions, {}

    def _set(self, name: str, text: str) -> None:
        from pipeline.table.query.question import Question

        kind, field_name = _SETTINGS[name]
        try:
            value = kind(text) if text else _DEFAULTS[field_name]
        except ValueError as error:
            raise UsageError(f":{name} {text}: a number") from error
        settings = {**self.settings, field_name: value}
        _ = Question.of(**settings, query="any")
        self.settings, self.last = settings, {}

    def _show_settings(self) -> None:
        shown = {**self.settings, "where": " and ".join(self.conditions) or None}
        for name, value in shown.items():
            if value is not None and value != []:
                self.output.people.print(f"{name:8} {value}", markup=False)


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{line}: {error}; an id with blanks stands between quotation marks") from error


_DEFAULTS: Final[dict[str, Any]] = {"k": 10, "alpha": None, "mode": "vector", "group_by": None}
_SETTINGS: Final = {
    "k": (int, "k"),
    "alpha": (float, "alpha"),
    "mode": (str, "mode"),
    "group": (str, "group_by"),
}


def prompt(table: VectorTable, output: Output, settings: dict[str, Any], conditions: list[str]) -> None:
    """Ask for queries and answer them until the input ends.

    What is wrong with one is said, and the next is asked for.
    """
    with suppress(ImportError):
        import_module("readline")  # gives `input` a history

    session = _Session(table, output, settings, conditions)
    output.people.print(f"{table.location}: {counted(table.count_rows(), 'row')} (:help)", markup=False)
    while True:
        try:
            line = input("> ").strip()
        except (EOFError, KeyboardInterrupt):
            output.people.print()
            return
        if line in {":quit", ":q"}:
            return
        if not line:
            continue
        try:
            session.answer(line)
        except MoeeError as error:
            output.progress.print(f"error: {error}", style="red", markup=False)
