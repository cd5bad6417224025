"""From lines of delimited text to records: a quotation mark opens a cell only if another one closes it.

A quoted cell begins with a quotation mark and goes on, over line ends too, to one that stands before a delimiter or a
line end. Where the first quotation mark inside that is neither doubled nor escaped stands before anything else, or
there is none, the cell was not quoted: its quotation marks are text, and its line is a record. So no two records can
melt into one, and every line is one record or a part of one.

Lines without a quotation mark, and lines whose quoted cells all end on them, go through the standard library's parser,
which is several times as fast.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, BadRow, UnreadableError
from pipeline.rejects import MALFORMED, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.corpus.dialect import Dialect

__all__ = ["Record", "Row", "read_records"]

_QUOTE: Final = '"'
_RUN_LINES: Final = 256

_INSIDE: Final = {
    "double": r'[^"]*+(?:""[^"]*+)*+',
    "backslash": r'[^"\\]*+(?:(?:\\[^\r\n]|\\|"")[^"\\]*+)*+',
}
"""What may stand between the two quotation marks of a cell, as far as it goes."""


class Row(NamedTuple):
    """A record."""

    line: int
    """Where it begins, from 1."""
    cells: list[str]


Record = Row | BadRow


def read_records(blocks: Iterable[list[bytes | None]], dialect: Dialect) -> Iterator[Record]:
    """The records of lines that keep their ends (`universal_line_blocks`), in UTF-8; blank lines are none.

    Bytes that are no UTF-8 become lone surrogates.
    """
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_BYTES))
    lines, splitter = _Lines(blocks), _Splitter(dialect)
    run: list[str] = []
    first = 1
    for line in lines:
        is_simple = line is not None and splitter.is_simple(line)
        if line is not None and is_simple:
            first = first if run else lines.number
            run.append(line.rstrip("\r\n"))
        if not is_simple or len(run) == _RUN_LINES:
            yield from splitter.rows(run, first)
            run = []
        if line is None:
            yield BadRow(-1, TOO_LONG, f"line {lines.number}: more than 64 MiB")
        elif not is_simple:
            yield splitter.split(line, lines)
    yield from splitter.rows(run, first)


class _Lines:
    """Lines that can be looked at before their turn. When they break off, those before come first."""

    def __init__(self, blocks: Iterable[list[bytes | None]]) -> None:
        self._lines = (line for block in blocks for line in block)
        self._ahead: deque[str | None] = deque()
        self.broken: UnreadableError | None = None
        self.number = 0
        """Of the line that was given last, from 1."""

    def __iter__(self) -> Iterator[str | None]:
        while self._has(1):
            self.number += 1
            yield self._ahead.popleft()
        if self.broken is not None:
            raise self.broken

    def ahead(self) -> Iterator[str | None]:
        """The lines that follow, which stay."""
        at = 0
        while self._has(at + 1):
            yield self._ahead[at]
            at += 1

    def drop(self, count: int) -> None:
        """Leave out the next lines."""
        self.number += count
        for _ in range(count):
            self._ahead.popleft()

    def _has(self, count: int) -> bool:
        while len(self._ahead) < count and self.broken is None:
            try:
                line = next(self._lines)
            except StopIteration:
                return False
            except UnreadableError as error:
                self.broken = error
                return False
            self._ahead.append(None if line is None else line.decode("utf-8", "surrogateescape"))
        return len(self._ahead) >= count


class _Splitter:
    """Splits lines as a dialect says."""

    def __init__(self, dialect: Dialect) -> None:
        mark = re.escape(dialect.delimiter)
        spaces = " *+" if dialect.skips_spaces else ""
        quoted = f"{_QUOTE}{_INSIDE['double']}{_QUOTE}"
        cell = f"(?>{spaces}(?:{quoted}|[^{_QUOTE}{mark}\r\n][^{mark}\r\n]*+)?)"
        self._dialect = dialect
        self._whole = re.compile(f"{cell}(?:{mark}{cell})*+[\r\n]*") if dialect.quoting == "double" else None
        self._inside = re.compile(_INSIDE.get(dialect.quoting, ""))
        self._has_quotes = dialect.quoting != "none"
        self._format: Any = {
            "delimiter": dialect.delimiter,
            "skipinitialspace": dialect.skips_spaces,
            "quoting": csv.QUOTE_MINIMAL if dialect.quoting == "double" else csv.QUOTE_NONE,
        }

    def is_simple(self, line: str) -> bool:
        """Whether the standard library reads this line alone as this module would."""
        if not self._has_quotes or _QUOTE not in line:
            return True
        return self._whole is not None and self._whole.fullmatch(line) is not None

    def rows(self, lines: list[str], first: int) -> Iterator[Row]:
        """The records of simple lines without their ends, of which the first is line `first`."""
        for number, cells in enumerate(csv.reader(lines, **self._format), first):
            if cells:
                yield Row(number, cells)

    def split(self, line: str, lines: _Lines) -> Record:
        """The record that begins with `line`, and goes on in some of the next `lines` where a cell does."""
        first, text, mark = lines.number, line, self._dialect.delimiter
        cells: list[str] = []
        at = 0
        while True:
            while self._dialect.skips_spaces and text.startswith(" ", at):
                at += 1
            if text.startswith(_QUOTE, at):
                found = self._closed(text, at + 1, lines)
                if found is None:
                    return BadRow(-1, MALFORMED, f"line {first}: a quoted cell is open where the file breaks off")
                text, close = found
                if close:
                    cells.append(self._unquoted(text[at + 1 : close]))
                    at = close + 1
            else:
                close = 0
            end = len(text.rstrip("\r\n"))
            if not close:
                stop = text.find(mark, at, end)
                stop = end if stop < 0 else stop
                cells.append(text[at:stop])
                at = stop
            if at >= end:
                return Row(first, cells)
            at += 1

    def _closed(self, text: str, at: int, lines: _Lines) -> tuple[str, int] | None:
        """The text, with as many lines as the cell that is open at `at` needs, and where it is closed; 0: nowhere.

        None: the file breaks off before that can be told.
        """
        close = self._inside.match(text, at).end()  # pyright: ignore[reportOptionalMemberAccess] — it matches nothing, too
        if close < len(text):
            return text, close if self._ends_cell(text, close) else 0
        more: list[str] = []
        for line in lines.ahead():
            if line is None or close > MAX_TEXT_BYTES:
                return text, 0
            more.append(line)
            inside = self._inside.match(line).end()  # pyright: ignore[reportOptionalMemberAccess]
            close += inside
            if inside < len(line):
                if not self._ends_cell(line, inside):
                    return text, 0
                lines.drop(len(more))
                return text + "".join(more), close
        if lines.broken is None:
            return text, 0
        lines.drop(len(more))
        return None

    def _ends_cell(self, text: str, close: int) -> bool:
        """Whether a delimiter or the line's end follows the quotation mark at `close`."""
        return text[close + 1 : close + 2] in {self._dialect.delimiter, "", "\r", "\n"}

    def _unquoted(self, inside: str) -> str:
        if self._dialect.quoting == "backslash":
            inside = re.sub(r'\\(["\\])', r"\1", inside)
        return inside.replace('""', _QUOTE)
