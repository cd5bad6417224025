"""Reading any format: which columns there are, how many rows, and the rows themselves.

What a format does is told by its protocol (`pipeline.corpus.formats.protocols`); here nothing depends on which it is.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from pipeline.arrow_types import plain_type
from pipeline.corpus.formats.base import BadRow, Extent, RawRows, ReaderOptions, Skip, UnreadableError
from pipeline.corpus.formats.content import inflated_size
from pipeline.corpus.formats.protocols import Seekable, Stream
from pipeline.corpus.formats.registry import FORMATS
from pipeline.corpus.formats.webdataset import KEY
from pipeline.corpus.openings import noted
from pipeline.errors import SourceError, UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.corpus.source_file import SourceFile

__all__ = [
    "RESERVED_COLUMNS",
    "BadRow",
    "Extent",
    "RawRows",
    "ReaderOptions",
    "Skip",
    "UnreadableError",
    "extents",
    "file_schema",
    "inflated_size",
    "is_stream",
    "open_on_trial",
    "read_rows",
    "read_stream",
    "resolve_columns",
]

RESERVED_COLUMNS: Final = frozenset(
    {"id", "text", "vector", "hs_norm", "rw_norm", "n_tokens", "truncated", "source", "slice", "row"}
    | {"_score", "_distance", "_rowid", "_rowaddr"}
)
"""Names that a metadata column cannot have, because the table uses them itself."""

_TEXT_NAMES: Final = ("content", "body", "document")
_ID_NAMES: Final = ("id", KEY)


def is_stream(file: SourceFile) -> bool:
    """Whether the file's rows can only be counted by reading all of it."""
    return isinstance(FORMATS[file.format].reader, Stream)


def file_schema(file: SourceFile, *, storage_options: Mapping[str, Any] | None = None) -> pa.Schema:
    """Names and types of the file's columns; for streams as far as its first rows show.

    Raises:
        UnreadableError: the file is damaged.
        SourceError: its storage failed.
    """
    with noted(file, storage_options):
        return FORMATS[file.format].reader.schema(file, storage_options)


def _first_schema(files: Sequence[SourceFile], storage_options: Mapping[str, Any] | None) -> tuple[pa.Schema, str]:
    """The schema of the first file that has one, and its URI.

    Text files have no columns but their text: they decide only where no other file does.
    """
    tabular = sorted((file for file in files if file.format != "text"), key=lambda each: each.uri)
    text = next((file for file in files if file.format == "text"), None)
    problem = "it holds no column"
    for file in tabular:
        try:
            schema = file_schema(file, storage_options=storage_options)
        except UnreadableError as error:
            problem = str(error)
            continue
        if schema.names:
            return schema, file.uri
    if text is None:
        others = f" (nor can {counted(len(tabular) - 1, 'other file')})" if len(tabular) > 1 else ""
        raise SourceError(f"{tabular[-1].uri} cannot be read{others}: {problem}")
    return file_schema(text), text.uri


def resolve_columns(
    files: Sequence[SourceFile], options: ReaderOptions, *, storage_options: Mapping[str, Any] | None = None
) -> ReaderOptions:
    """The options with text and id settled, checked against the first file that can be read.

    Text is the column ``text``, else the only one of ``content``, ``body`` and ``document``. Id is the column ``id``,
    else ``__key__``, which every WebDataset has; else, and where it was asked to be "", it is None: derived.

    Raises:
        UsageError: `slice_rows` is not positive, or a metadata column has a name that the table uses itself.
        SourceError: the text or id that was named is not there, no text column can be found, or no file can be read.
    """
    if options.slice_rows < 1:
        raise UsageError(f"slice_rows={options.slice_rows}: a slice has at least one row")
    reserved = [name for name in options.keep if name in RESERVED_COLUMNS]
    if reserved:
        raise UsageError(f"keep: the table has a column {reserved[0]!r} of its own; rename the one in the files")
    schema, uri = _first_schema(files, storage_options)
    text = options.text or _default_text(schema.names, uri)
    found = next((name for name in _ID_NAMES if name in schema.names and name != text), None)
    identifier = found if options.id is None else options.id or None
    resolved = replace(options, text=text, id=identifier, keep=tuple(dict.fromkeys(options.keep)))
    _check_named(text, schema)
    _check_type(text, schema, "text", textual=True)
    if resolved.id is not None:
        _check_named(resolved.id, schema)
        _check_type(resolved.id, schema, "id", textual=False)
    return resolved


def _default_text(names: list[str], uri: str) -> str:
    if "text" in names:
        return "text"
    candidates = [name for name in _TEXT_NAMES if name in names]
    if len(candidates) == 1:
        return candidates[0]
    raise SourceError(
        f"which column holds the text? Name one with --text; {uri} has {', '.join(names[:30])} (or leave that file out)"
    )


def _check_named(name: str, schema: pa.Schema) -> None:
    times = schema.names.count(name)
    if times == 0:
        raise SourceError(f"no column {name!r} in the input; there are: {', '.join(schema.names[:30])}")
    if times > 1:
        raise SourceError(f"{times} columns are called {name!r}; rename them")


def _check_type(name: str, schema: pa.Schema, role: str, *, textual: bool) -> None:
    given = plain_type(schema.field(name).type)
    is_text = pa.types.is_string(given) or pa.types.is_large_string(given)
    is_bytes = pa.types.is_binary(given) or pa.types.is_large_binary(given)
    is_scalar = not pa.types.is_nested(given) and not pa.types.is_fixed_size_binary(given)
    if not (is_text or is_bytes or (is_scalar and not textual)):
        raise SourceError(f"column {name!r} is {given} and cannot be the {role}; there are: {', '.join(schema.names)}")


def extents(
    file: SourceFile, options: ReaderOptions, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[Extent, ...] | None:
    """How the file's rows are stored, from its metadata alone; None for a stream.

    Raises:
        UnreadableError: the file is damaged.
        SourceError: its storage failed.
    """
    reader = FORMATS[file.format].reader
    if not isinstance(reader, Seekable):
        return None
    with noted(file, storage_options):
        return reader.extents(file, options, storage_options)


def open_on_trial(connection: int) -> None:
    """In a process of its own: open the file that is named behind a descriptor, as planning does (`openings`)."""
    file, storage_options = Connection(connection).recv()
    with contextlib.suppress(SourceError):  # whoever asked hears it, too
        _ = file_schema(file, storage_options=storage_options)
        _ = extents(file, ReaderOptions(), storage_options=storage_options)


def read_rows(
    file: SourceFile,
    options: ReaderOptions,
    start: int,
    stop: int,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[RawRows]:
    """The rows ``start`` to ``stop`` of a file that is no stream, in order, up to `slice_rows` at a time.

    Raises:
        UnreadableError: the file is damaged, or lacks a column; rows before the damage are given first.
        SourceError: its storage failed.
    """
    reader = FORMATS[file.format].reader
    if not isinstance(reader, Seekable):
        raise TypeError(f"{file.format} is a stream: read_stream reads it")
    return reader.read(file, options, start, stop, storage_options)


def read_stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    *,
    skip: Skip,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[RawRows]:
    """A stream's slices in order, one `RawRows` each; what `skip` says is finished is only counted.

    Raises:
        UnreadableError: the file is damaged, or lacks a column; rows before the damage are given first.
        SourceError: its storage failed.
    """
    reader = FORMATS[file.format].reader
    if not isinstance(reader, Stream):
        raise TypeError(f"{file.format} is no stream: read_rows reads it")
    return reader.stream(file, options, keep, skip, storage_options)
