"""How text is written: in which encoding, and for delimited text what separates the cells and how they are quoted.

The dialect of a file decides what its rows are. Where it is not the usual one of the format, it is a part of the file's
version, and so of its slices' ids: read in another dialect, it is a changed file. The usual one leaves them alone.
"""

from __future__ import annotations

import codecs
import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final, Literal, Self, get_args

from pipeline.errors import UsageError

if TYPE_CHECKING:
    from pipeline.corpus.source_file import SourceFile

__all__ = [
    "DELIMITED",
    "ENCODED",
    "ONE_COLUMN",
    "UNSAID",
    "UTF8",
    "AskedDialect",
    "Dialect",
    "Quoting",
    "dialect_of",
    "with_dialect",
]

Quoting = Literal["double", "backslash", "none"]
"""How a quotation mark stands inside a quoted cell: doubled, after a backslash; or cells are never quoted."""

UTF8: Final = "utf-8"

DELIMITED: Final = {"csv": ",", "tsv": "\t"}
"""The formats of delimited text, with their usual delimiters."""

ENCODED: Final = ("text", "jsonl", "json")
"""The other formats of which a dialect tells the encoding."""

ONE_COLUMN: Final = "\x1f"
"""The delimiter of files whose lines are one cell each: no text holds it."""

_NO_TEXT: Final = {"idna", "punycode", "unicode-escape", "raw-unicode-escape"}
"""Encodings of Python for names and for source code."""

_SAID: Final = {"double": "quotes doubled", "backslash": "quotes after a backslash", "none": "no quoting"}
_NAMED: Final = {"tab": "\t", "\\t": "\t", "space": " "}


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a reader of text must know."""

    delimiter: str = ""
    """Between cells, one character; empty where the format has none."""
    quoting: Quoting = "none"
    skips_spaces: bool = False
    """Whether spaces after a delimiter belong to no cell."""
    encoding: str = UTF8
    """As Python calls it. A byte order mark in a file says it better."""

    @classmethod
    def usual(cls, format_: str) -> Self:
        """Of a format: commas and doubled quotes in CSV; tabs and no quoting in TSV, as IANA registered it."""
        return cls(DELIMITED.get(format_, ""), "double" if format_ == "csv" else "none")

    def __str__(self) -> str:
        spaces = ", spaces after delimiters skipped" if self.skips_spaces else ""
        columns = "one column" if self.delimiter == ONE_COLUMN else f"delimiter {self.delimiter!r}"
        cells = f"{columns}, {_SAID[self.quoting]}{spaces}, " if self.delimiter else ""
        return f"{cells}{self.encoding}"


@dataclass(frozen=True, slots=True)
class AskedDialect:
    """What a person says of the files; None: found out.

    Raises:
        UsageError: no such quoting or encoding, or a delimiter that is not one character.
    """

    delimiter: str | None = None
    quoting: Quoting | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None:
            delimiter = _NAMED.get(self.delimiter, self.delimiter)
            if len(delimiter) != 1 or delimiter in '"\\\r\n':
                raise UsageError(f"--delimiter {self.delimiter!r}: give one character, such as ';', '|' or 'tab'")
            object.__setattr__(self, "delimiter", delimiter)
        if self.quoting not in {None, *get_args(Quoting)}:
            raise UsageError(f"--quoting {self.quoting}: choose {', '.join(get_args(Quoting))}")
        if self.encoding is not None:
            object.__setattr__(self, "encoding", _encoding(self.encoding))

    def over(self, dialect: Dialect) -> Dialect:
        """`dialect` with what was asked for."""
        return replace(dialect, **{name: value for name, value in asdict(self).items() if value is not None})


UNSAID: Final = AskedDialect()
"""Nobody says anything."""


def dialect_of(file: SourceFile) -> Dialect:
    """The dialect in which `file` is read."""
    usual = Dialect.usual(file.format)
    return replace(usual, **json.loads(file.dialect)) if file.dialect else usual


def with_dialect(file: SourceFile, dialect: Dialect) -> SourceFile:
    """`file`, read in `dialect`: another version of it, if that is not the usual one."""
    usual = asdict(Dialect.usual(file.format))
    unusual = {name: value for name, value in asdict(dialect).items() if value != usual[name]}
    text = json.dumps(unusual, sort_keys=True) if unusual else ""
    version = f"{file.content_version} {text}" if text else file.content_version
    return replace(file, version=version, dialect=text)


def _encoding(name: str) -> str:
    try:
        "".encode(name)  # refuses the codecs that are none of text, too
        found = codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        found = ""
    if not found or found in _NO_TEXT:
        raise UsageError(f"--encoding {name}: there is no such encoding; cp1252, latin-1, utf-16 or shift_jis are some")
    return UTF8 if found == "utf-8-sig" else found
