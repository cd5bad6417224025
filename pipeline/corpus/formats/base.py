"""What all formats share: the options of a read, the rows that come out of it, and how a file is opened.

Two kinds of trouble are kept apart here, because they need opposite answers. Content that cannot be understood is
the file's fault and final: `UnreadableError`, which the reader of a work unit turns into a reject. A read that
failed is the storage's fault and may pass: `SourceError`, which nobody may mistake for a corrupt file. The bytes
go through a `GuardedFile`, which remembers whether a read failed; the exceptions of parsers alone do not tell,
since Arrow raises OSError for both.
"""

from __future__ import annotations

import logging
import lzma
import zlib
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import zstandard

from pipeline.errors import SourceError
from pipeline.storage import open_binary

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = [
    "MAX_TEXT_BYTES",
    "BadRow",
    "Extent",
    "GuardedFile",
    "Misfit",
    "RawRows",
    "ReaderOptions",
    "Skip",
    "UnreadableError",
    "columns_there",
    "opened",
]

logger = logging.getLogger(__name__)

MAX_TEXT_BYTES: Final = 64 << 20
"""Longest line, CSV field or text file that is read; what is longer is rejected without being held in memory."""

Misfit = tuple[int, str]
"""A row, counted from 0 in its file, and the metadata column in which it has a value that does not fit."""

Skip = Callable[[int], bool]
"""Given the first row of a slice: is the slice finished, so that its rows need only be counted?"""

_CONTENT_ERRORS: Final = (
    pa.ArrowException,
    OSError,
    EOFError,
    UnicodeDecodeError,
    zlib.error,
    lzma.LZMAError,
    zstandard.ZstdError,
)


class UnreadableError(SourceError):
    """A file, or the rest of it, cannot be understood; the message is the detail of its reject."""


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Which columns are read, and how many rows make a slice.

    `text` and `id` at None are open until `resolve_columns` has seen the files; afterwards `id` at None means that
    ids are derived from source and row, which `id` at "" asks for.
    """

    text: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()
    slice_rows: int = 1024

    @property
    def columns(self) -> list[str]:
        """The columns to read, each once, in the order text, id, keep."""
        named = (self.text, self.id, *self.keep)
        return list(dict.fromkeys(name for name in named if name is not None))


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of rows that is stored together: a Parquet row group or a Lance fragment.

    `bytes` is the size in memory of the columns that are read, about. `sequential`: to reach a row of it, all rows
    before must be decoded.
    """

    rows: int
    bytes: int
    sequential: bool = False


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that did not survive reading; `row` counts from 0 in its file."""

    row: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RawRows:
    """The rows ``start`` to ``stop`` of one file, columns named as in the file.

    `rows` is int64 ``[n]``, the row number of each of the `table`'s n rows; the others are in `bad`. `table` is
    None where the rows were only counted; it lacks metadata columns that the file does not have. `misfits`: row and
    column of metadata that is null because it did not fit the column's type.
    """

    start: int
    stop: int
    table: pa.Table | None
    rows: np.ndarray
    bad: tuple[BadRow, ...] = ()
    misfits: tuple[Misfit, ...] = ()

    @classmethod
    def numbered(cls, table: pa.Table, start: int) -> RawRows:
        """All rows of `table`, of which the first is row `start` of the file."""
        stop = start + table.num_rows
        return cls(start, stop, table, np.arange(start, stop))

    @classmethod
    def counted(cls, start: int, stop: int) -> RawRows:
        """Rows that were only counted."""
        return cls(start, stop, None, np.empty(0, np.int64))


class GuardedFile:
    """A binary file that remembers whether reading from it ever failed."""

    def __init__(self, handle: IO[bytes]) -> None:
        self._handle = handle
        self.failure: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, all that is left if negative."""
        try:
            return self._handle.read(size)
        except Exception as error:  # any class of the storage's client library; remembered, then raised
            self.failure = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of any binary file."""
        return self._handle.seek(offset, whence)

    def tell(self) -> int:
        """As of any binary file."""
        return self._handle.tell()

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    @property
    def closed(self) -> bool:
        """Whether the file was closed."""
        return self._handle.closed

    def close(self) -> None:
        """Close the file underneath."""
        self._handle.close()


@contextmanager
def opened(file: SourceFile, storage_options: Mapping[str, Any] | None) -> Generator[GuardedFile]:
    """The file's bytes as they are stored.

    Raises:
        UnreadableError: what was done with the bytes failed because of their content.
        SourceError: the file could not be opened, or reading from it failed.
    """
    guard = GuardedFile(open_binary(file.uri, storage_options))
    try:
        yield guard
    except SourceError:
        raise
    except Exception as error:
        if guard.failure is not None:
            raise SourceError(f"{file.uri}: reading failed: {guard.failure!r}; run again to go on") from error
        if isinstance(error, _CONTENT_ERRORS):
            raise UnreadableError(f"{type(error).__name__}: {error}") from error
        raise
    finally:
        guard.close()


def columns_there(options: ReaderOptions, there: list[str]) -> list[str]:
    """Those of the columns to read that a file has; metadata that it lacks, or has twice, is left out.

    Raises:
        UnreadableError: the text or the id is missing, or is there twice.
    """
    for name in (options.text, options.id):
        times = there.count(name or "")
        if name is not None and times != 1:
            problem = f"no column {name!r}" if times == 0 else f"{times} columns {name!r}"
            raise UnreadableError(f"{problem}; there are: {', '.join(there[:20]) or 'none'}")
    twice = [name for name in options.keep if there.count(name) > 1]
    if twice:
        logger.warning("%d columns are called %r: left out", there.count(twice[0]), twice[0])
    return [name for name in options.columns if there.count(name) == 1]
