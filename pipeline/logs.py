"""Logs for programs: with ``MOEE_LOG_FORMAT=json`` every line on stderr is one JSON object, in workers, too.

    {"time": "2026-01-31T12:00:00.123Z", "level": "warning", "logger": "pipeline.embedding.table_rows",
     "message": "…", "run": "20260131T115900-1a2b3c4d", "unit": "embed [1, 0] 1024"}

``run`` and ``unit`` say what the process is at work on, where that is known. What a command writes for people becomes
lines of the same form.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["FORMAT_VARIABLE", "JsonFormatter", "JsonLines", "at_work_on", "log_json", "wants_json"]

FORMAT_VARIABLE: Final = "MOEE_LOG_FORMAT"

_LEVELS: Final = ("error", "warning", "info", "debug")

_at_work: dict[str, str] = {}
"""A process works on one run and one unit at a time; a mapping of its own thread would be lost on the committer's."""


def wants_json() -> bool:
    """Whether logs are for programs.

    Raises:
        UsageError: the environment asks for a format that there is not.
    """
    asked = os.environ.get(FORMAT_VARIABLE, "text")
    if asked not in {"text", "json"}:
        raise UsageError(f"{FORMAT_VARIABLE}={asked!r}: text or json")
    return asked == "json"


def at_work_on(**names: str) -> None:
    """From here on log lines of this process say so: ``run``, ``unit``. A worker's log begins with the first call."""
    _at_work.update((name, value) for name, value in names.items() if value)
    if wants_json() and not logging.root.handlers:
        log_json(logging.WARNING)


def log_json(level: int) -> None:
    """Log to stderr as JSON from `level` on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        told: dict[str, Any] = {"logger": record.name}
        if record.exc_info:
            told["traceback"] = "".join(traceback.format_exception(*record.exc_info))
        return _line(record.created, record.levelname.lower(), record.getMessage(), told)


class JsonLines(io.TextIOBase):
    """A stream that makes a JSON object of every line that is written to it.

    Args:
        stream: where they go.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._begun = stream, ""

    def write(self, text: str, /) -> int:
        """See `io.TextIOBase`."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                level, colon, message = line.partition(": ")
                known = bool(colon) and level in _LEVELS
                told = _line(datetime.now(UTC).timestamp(), level if known else "info", message if known else line, {})
                self._stream.write(told + "\n")
        return len(text)

    def flush(self) -> None:
        """See `io.TextIOBase`."""
        self._stream.flush()

    def fileno(self) -> int:
        """See `io.TextIOBase`."""
        return self._stream.fileno()


def _line(seconds: float, level: str, message: str, more: dict[str, Any]) -> str:
    time = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": time, "level": level, "message": message, **more, **_at_work}, ensure_ascii=False)
