"""Finding out in which dialect a delimited file is written, from its beginning.

The delimiter is the one that gives a header of several cells and most records as many; in doubt the format's usual one.
Where the header is one cell and the usual delimiter stands in the lines, they are text, one cell each.
A file has backslashes before its quotation marks only if more of its records fit the header so. Tabs know no quoting,
unless the beginning cannot be understood without.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, NamedTuple, get_args

from pipeline.corpus.dialect import ONE_COLUMN, AskedDialect, Dialect, Quoting, with_dialect
from pipeline.corpus.formats.base import UnreadableError
from pipeline.corpus.formats.content import marked_encoding, plain_chunks, utf8_chunks
from pipeline.corpus.formats.delimited.records import Row, read_records
from pipeline.corpus.formats.lines import universal_line_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["announced", "sniff"]

_SAMPLE_BYTES: Final = 256 << 10
_DELIMITERS: Final = (",", ";", "\t", "|")
_QUOTE: Final = '"'
_ANNOUNCEMENT: Final = re.compile(r"sep=(.)[\r\n]*")


def sniff(file: SourceFile, asked: AskedDialect, storage_options: Mapping[str, Any] | None) -> Dialect:
    """The dialect of a delimited file, with what was asked for as it was asked.

    Raises:
        SourceError: reading failed; of a damaged file the usual dialect is given.
    """
    usual = asked.over(Dialect.usual(file.format))
    try:
        encoding = _encoding(file, usual.encoding, storage_options)
        lines = _sample(with_dialect(file, replace(usual, encoding=encoding)), storage_options)
    except UnreadableError:
        return usual
    found = replace(usual, encoding=encoding)
    said = announced(lines[0].decode("utf-8", "replace")) if lines else None
    lines = lines if said is None else lines[1:]
    if asked.delimiter is None:
        found = replace(found, delimiter=said or _delimiter(lines, found))
    header = next(_rows(lines, replace(found, quoting="none")), None)
    if header and len(header.cells) > 1 and all(cell.startswith(" ") for cell in header.cells[1:]):
        found = replace(found, skips_spaces=True)
    return found if asked.quoting is not None else replace(found, quoting=_quoting(lines, found))


def announced(line: str) -> str | None:
    """The delimiter that a first line announces before the header, ``sep=;``, as Excel reads and writes it."""
    found = _ANNOUNCEMENT.fullmatch(line)
    return None if found is None else found[1]


def _encoding(file: SourceFile, otherwise: str, storage_options: Mapping[str, Any] | None) -> str:
    mark = marked_encoding(next(plain_chunks(file, storage_options), b""))
    return otherwise if mark is None else mark[1]


def _sample(file: SourceFile, storage_options: Mapping[str, Any] | None) -> list[bytes]:
    """The first whole lines."""
    lines: list[bytes] = []
    size = 0
    chunks = utf8_chunks(file, storage_options)
    try:
        for line in chain.from_iterable(universal_line_blocks(_cut(chunks))):
            lines.append(line or b"\n")
            size += len(lines[-1])
    except UnreadableError:
        if not lines:
            raise
    return lines[:-1] if size >= _SAMPLE_BYTES else lines


def _cut(chunks: Iterator[bytes]) -> Iterator[bytes]:
    left = _SAMPLE_BYTES
    while left > 0 and (chunk := next(chunks, b"")):
        yield chunk[:left]
        left -= len(chunk)


class _Fit(NamedTuple):
    """How well records fit the header; the greater the better."""

    has_columns: bool
    share: float
    """Records with as many cells as the header, of all."""


def _rows(lines: list[bytes], dialect: Dialect) -> Iterator[Row]:
    return (record for record in read_records([[*lines]], dialect) if isinstance(record, Row))


def _fit(lines: list[bytes], dialect: Dialect) -> _Fit:
    rows = _rows(lines, dialect)
    width = len(next(rows, Row(0, [])).cells)
    fits = [len(row.cells) == width for row in rows]
    return _Fit(width > 1, sum(fits) / len(fits) if fits else 1.0)


def _delimiter(lines: list[bytes], dialect: Dialect) -> str:
    """Records are only counted where the header leaves it open."""
    header = lines[0].decode("utf-8", "replace") if lines else ""
    marks = [mark for mark in dict.fromkeys((dialect.delimiter, *_DELIMITERS)) if mark in header]
    if len(marks) > 1:
        fits = {mark: _fit(lines, replace(dialect, delimiter=mark)) for mark in marks}
        return max(fits, key=lambda mark: fits[mark])  # the first of equals, which is the usual one
    if marks:
        return marks[0]
    is_one_column = any(dialect.delimiter.encode() in line for line in lines) and _fit(lines, dialect).share < 1
    return ONE_COLUMN if is_one_column else dialect.delimiter


def _quoting(lines: list[bytes], dialect: Dialect) -> Quoting:
    is_usual = dialect.quoting == "double"
    has_signs = any((b'\\"' if is_usual else b'"') in line for line in lines)
    if not has_signs:
        return dialect.quoting
    doubled, escaped, plain = (_fit(lines, replace(dialect, quoting=how)) for how in get_args(Quoting))
    if escaped > max(doubled, plain) and any(b'\\"' in line for line in lines):
        return "backslash"
    if not is_usual and doubled >= plain and _needs_quotes(lines, dialect):
        return "double"
    return dialect.quoting


def _needs_quotes(lines: list[bytes], dialect: Dialect) -> bool:
    """Whether quotation marks that begin a cell are all closed, and some of them are no text.

    These are the header's, and those around a delimiter, a line end or a doubled quotation mark.
    """
    text = b"".join(lines).decode("utf-8", "replace")
    mark = re.escape(dialect.delimiter)
    opened = re.finditer(rf'(?:^|{mark})"(?:((?:[^"]|"")*+)"(?=[\r\n]|{mark}|\Z))?', text, re.MULTILINE)
    cells = [cell[1] for cell in opened]
    if any(cell is None for cell in cells):
        return False
    return text.startswith(_QUOTE) or any(sign in cell for cell in cells for sign in (dialect.delimiter, "\n", _QUOTE))
