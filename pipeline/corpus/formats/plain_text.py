"""Text files: a whole file is one document, its first and only row; it has no columns but its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, BadRow, Extent, RawRows, ReaderOptions
from pipeline.corpus.formats.content import inflated_size, utf8_chunks
from pipeline.rejects import NOT_UTF8, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["extents", "read", "schema"]

_SCHEMA: Final = pa.schema([("text", pa.string())])

_ROW: Final = np.zeros(1, np.int64)


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """One column, the text."""
    del file, storage_options
    return _SCHEMA


def extents(file: SourceFile, options: ReaderOptions, storage_options: Mapping[str, Any] | None) -> tuple[Extent, ...]:
    """One row."""
    del options, storage_options
    return (Extent(1, inflated_size(file)),)


def read(
    file: SourceFile, options: ReaderOptions, start: int, stop: int, storage_options: Mapping[str, Any] | None
) -> Iterator[RawRows]:
    """The file as row 0, in the column that the options call the text."""
    if start < 1 <= stop:
        yield _document(file, options, storage_options)


def _document(file: SourceFile, options: ReaderOptions, storage_options: Mapping[str, Any] | None) -> RawRows:
    pieces: list[bytes] = []
    size = 0
    for piece in utf8_chunks(file, storage_options):
        size += len(piece)
        if size > MAX_TEXT_BYTES:
            return _rejected(TOO_LONG, "a text file of more than 64 MiB")
        pieces.append(piece)
    try:
        text = b"".join(pieces).decode()
    except UnicodeDecodeError as error:
        return _rejected(NOT_UTF8, str(error))
    return RawRows(0, 1, pa.table({options.text or "text": pa.array([text], pa.large_string())}), _ROW)


def _rejected(reason: str, detail: str) -> RawRows:
    return RawRows(0, 1, _SCHEMA.empty_table(), _ROW[:0], (BadRow(0, reason, detail),))
