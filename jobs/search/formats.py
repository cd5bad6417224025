"""Hits as files: JSON lines, CSV, Parquet; written table by table, so that the answers to many queries stream."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import contextmanager
from errno import EISDIR
from os import strerror
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import pyarrow as pa

__all__ = ["FORMATS", "HitWriter", "chosen_format", "hit_writer"]


class HitWriter(Protocol):
    """What hits are written to."""

    def write(self, hits: pa.Table) -> None:
        """Write some hits; all tables of one file have the same columns."""
        ...


class _JsonLines:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, hits: pa.Table) -> None:
        from pipeline.values import as_json

        for row in as_json(hits):
            self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        self._file.flush()


class _Csv:
    """A header and a line for each hit; texts as they are, other values as JSON would hold them, nothing for null."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._has_header = False

    def write(self, hits: pa.Table) -> None:
        from io import StringIO

        from pipeline.values import as_cell, as_json

        lines = StringIO(newline="")
        writer = csv.writer(lines)
        if not self._has_header:
            writer.writerow(hits.column_names)
            self._has_header = True
        for row in as_json(hits):
            writer.writerow("" if value is None else as_cell(value) for value in row.values())
        self._file.write(lines.getvalue().encode())
        self._file.flush()


class _Parquet:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: Any = None

    def write(self, hits: pa.Table) -> None:
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, hits.schema)
        self._writer.write_table(hits)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


_WRITERS: Final[dict[str, Callable[[IO[bytes]], Any]]] = {"jsonl": _JsonLines, "csv": _Csv, "parquet": _Parquet}

FORMATS: Final = ("table", "json", *_WRITERS)
"""``table`` for people, ``json`` one object as under ``--json``, the others one row a hit."""


def chosen_format(asked: str | None, output: str | None, *, json: bool) -> str:
    """The format that was asked for, else the one that the name of the output says, else ``table``.

    Args:
        asked: ``--format``.
        output: ``--output``.
        json: whether ``--json`` was asked for, which is a format, too.

    Raises:
        UsageError: the name says none, the format has no file, or two are asked for.
    """
    if json and (output is not None or asked not in {None, "json"}):
        raise UsageError("--json is --format json, which goes to stdout: leave it out, or --format and --output")
    if json:
        return "json"
    if output is None:
        return asked or "table"
    if asked in {"table", "json"}:
        raise UsageError(f"--format {asked} goes to stdout: leave --output out, or say --format jsonl, csv or parquet")
    if asked is not None:
        return asked
    suffix = Path(output).suffix.removeprefix(".").lower()
    if suffix not in _WRITERS:
        raise UsageError(f"--output {output!r}: say --format jsonl, csv or parquet, or end the name in one of them")
    return suffix


@contextmanager
def hit_writer(format: str, output: str | None) -> Generator[HitWriter]:  # noqa: A002
    """A writer to the file `output`, which appears when all is written, or to stdout.

    What is no file, such as a pipe or ``/dev/null``, is written to as it is.

    Raises:
        UsageError: the file cannot be made, or Parquet would go to a terminal.
    """
    if output is None:
        if format == "parquet" and sys.stdout.isatty():
            raise UsageError("--format parquet is not for a terminal: say --output FILE")
        writer = _WRITERS[format](sys.stdout.buffer)
        yield writer
        _close(writer)
        return
    target = Path(output)
    in_place = target.exists() and not target.is_file() and not target.is_dir()
    part = target if in_place else target.with_name(f".{target.name}.part")
    try:
        if target.is_dir():
            raise IsADirectoryError(EISDIR, strerror(EISDIR))
        file = part.open("wb")
    except OSError as error:
        raise UsageError(f"--output {output!r} cannot be written: {error.strerror}") from error
    try:
        with file:
            writer = _WRITERS[format](file)
            yield writer
            _close(writer)
        if not in_place:
            part.replace(target)
    finally:
        if not in_place:
            part.unlink(missing_ok=True)


def _close(writer: HitWriter) -> None:
    if isinstance(writer, _Parquet):
        writer.close()
