"""What all commands share: ``--json`` and ``--debug``, exit statuses, and one clear line for every error.

A result goes to stdout: tables and sentences for people, or with ``--json`` one JSON object and nothing else.
Progress and warnings go to stderr.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console
from rich.text import Text

from pipeline.errors import MoeeError, UsageError, first_line
from pipeline.garbage import collect_rarely
from pipeline.logs import JsonLines, log_json, wants_json

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from pipeline.flow.progress import TerminalProgress

__all__ = [
    "Command",
    "Output",
    "above_zero",
    "command_group",
    "parse_command",
    "parse_pairs",
    "printable",
    "run_command",
    "snippet",
    "storage_argument",
    "storage_options",
    "table_arguments",
]

INTERRUPTED: Final = 130
TERMINATED: Final = 143
BROKEN_PIPE: Final = 141

MIN_SECRET: Final = 6
"""Letters; shorter values are words that stand anywhere."""

PATIENCE: Final = 2.0
"""Seconds that a command may take before a log hears of it."""


@dataclass(frozen=True, slots=True)
class Output:
    """Where a command writes: `people` is stdout, or stderr under ``--json``; `progress` is stderr."""

    people: Console
    progress: Console
    json: bool

    @contextmanager
    def following(self, phase: str) -> Generator[TerminalProgress]:
        """While the context lasts a terminal shows that the command is at `phase`; a log, once it takes long."""
        from pipeline.flow.progress import TerminalProgress

        with TerminalProgress(self.progress, patience=PATIENCE) as progress:
            progress.phase(phase)
            yield progress

    def result(self, data: Mapping[str, Any]) -> None:
        """The command's result for programs: printed under ``--json`` only. Arrow tables become lists of rows."""
        if self.json:
            from pipeline.values import as_json

            print(json.dumps(as_json(data), ensure_ascii=False, allow_nan=False))


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name and its line of help, its arguments, and what it does."""

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Output], None]
    examples: Sequence[str] = field(default=())


def run_command(command: Command, arguments: Sequence[str] | None = None, *, program: str | None = None) -> int:
    """Parse, run, and turn errors into one line and an exit status: 0 done, 2 wrong usage, 1 any other error."""
    given = parse_command(command, arguments, program=program)
    try:
        output = _output(as_json=given.json, logs_json=wants_json())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    _set_up(output.progress, debug=given.debug)
    terminated = threading.Event()
    try:
        with _stopped_by_sigterm(terminated):
            command.run(given, output)
    except MoeeError as error:
        if given.debug:
            output.progress.print(_traceback(error, given), markup=False)
        output.progress.print(f"error: {error}", style="red", markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        output.progress.print("interrupted; what was committed stays, and the same command goes on from there")
        return TERMINATED if terminated.is_set() else INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        if given.debug:
            raise
        line = f"error: unexpected {type(error).__name__}: {first_line(error)} (--debug shows where)"
        output.progress.print(line, style="red", markup=False)
        return 1
    return 0


def parse_command(
    command: Command, arguments: Sequence[str] | None = None, *, program: str | None = None
) -> argparse.Namespace:
    """The arguments of a command. A wrong call ends the process with status 2, after one line on stderr."""
    parser = _Parser(prog=program or f"moee {command.name}", **_described(command))
    command.configure(parser)
    _common_options(parser)
    return parser.parse_args(arguments)


def command_group(name: str, description: str, actions: Sequence[Command], examples: Sequence[str] = ()) -> Command:
    """A command whose first argument says which of `actions` to take; each has arguments of its own."""

    def configure(parser: argparse.ArgumentParser) -> None:
        parsers = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        for action in actions:
            under = parsers.add_parser(action.name, help=action.help, **_described(action))
            action.configure(under)
            # Not set by default: what stands before the action would be overwritten.
            _common_options(under, default=argparse.SUPPRESS)

    def run(arguments: argparse.Namespace, output: Output) -> None:
        next(action for action in actions if action.name == arguments.action).run(arguments, output)

    return Command(name, description, configure, run, examples)


def table_arguments(parser: argparse.ArgumentParser) -> None:
    """The table, and how to reach it: arguments of every command that works on one."""
    parser.add_argument("table", metavar="DIR/NAME")
    storage_argument(parser)


def storage_argument(parser: argparse.ArgumentParser) -> None:
    """``--storage-option``, which `storage_options` reads."""
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="NAME=VALUE", help="for object storage"
    )


def storage_options(arguments: argparse.Namespace) -> dict[str, str] | None:
    """Every ``--storage-option`` that was given; None without one.

    Raises:
        UsageError: one is not ``NAME=VALUE``.
    """
    return parse_pairs(arguments.storage_option, "--storage-option") or None


def above_zero(text: str) -> float:
    """The type of an argument that is a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, str]:
    """``NAME=VALUE`` arguments as a dictionary.

    Raises:
        UsageError: one has no ``=`` or no name.
    """
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {pair!r}: write NAME=VALUE")
        parsed[name] = value
    return parsed


def snippet(text: str, room: int) -> str:
    """The beginning of a text on one line, `room` columns wide; characters of East Asia take two."""
    line = Text(printable(" ".join(text[: 4 * room].split())))
    line.truncate(room, overflow="ellipsis")
    return line.plain


def printable(text: str) -> str:
    """Without what would move a terminal's cursor or change its colours."""
    return "".join(character if character.isprintable() else " " for character in text)


def _output(*, as_json: bool, logs_json: bool) -> Output:
    plain: dict[str, Any] = {"highlight": False, "emoji": False, "soft_wrap": True}
    lines: Any = JsonLines(sys.stderr)
    progress = Console(file=lines, **plain) if logs_json else Console(stderr=True, **plain)
    return Output(people=progress if as_json else Console(**plain), progress=progress, json=as_json)


def _described(command: Command) -> dict[str, Any]:
    return {
        "description": command.help,
        "epilog": "\n".join(["examples:", *(f"  {line}" for line in command.examples)]) if command.examples else None,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }


def _common_options(parser: argparse.ArgumentParser, **settings: Any) -> None:
    add = partial(parser.add_argument, action="store_true", **settings)
    add("--json", help="one JSON object on stdout, everything else on stderr")
    add("--debug", help="verbose log, and tracebacks of errors")


class _Parser(argparse.ArgumentParser):
    """Argparse, with one line for a wrong call instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} ({self.prog} --help)\n")


class _ConsoleHandler(logging.Handler):
    """One line a record, above whatever progress is being shown."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else "dim"
        self._console.print(f"{record.levelname.lower()}: {self.format(record)}", style=style, markup=False)


@contextmanager
def _stopped_by_sigterm(terminated: threading.Event) -> Generator[None]:
    """While the context lasts SIGTERM, of a scheduler or ``ray job stop``, interrupts as Ctrl-C does, and is noted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> NoReturn:
        terminated.set()
        raise KeyboardInterrupt

    kept = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, kept)


def _traceback(error: MoeeError, given: argparse.Namespace) -> str:
    """With the answers of storages and services in it, which may repeat what they were given: that is taken out."""
    from pipeline.table.companions.runs import is_secret_name

    pairs: list[str] = getattr(given, "storage_option", [])
    text = "".join(traceback.format_exception(error))
    for name, value in [*os.environ.items(), *(pair.partition("=")[::2] for pair in pairs)]:
        if is_secret_name(name) and len(value) >= MIN_SECRET:
            text = text.replace(value, "…")
    return text


def _set_up(progress: Console, *, debug: bool) -> None:
    collect_rarely()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("LANCE_INCLUDE_VECTOR_CENTROIDS", "false")  # not used; unset, Lance warns on stderr
    if wants_json():
        log_json(logging.WARNING)
    else:
        handler = _ConsoleHandler(progress)
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s" if debug else "%(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("pipeline", "jobs"):
        logging.getLogger(ours).setLevel(logging.DEBUG if debug else logging.WARNING)
    if not debug:
        warnings.simplefilter("ignore")  # libraries' deprecations are for the developers, who run with -W error
