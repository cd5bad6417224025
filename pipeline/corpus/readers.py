"""Reading any format: which columns there are, how many rows, and the rows themselves.

Parquet, Lance and text files know their rows beforehand and can be read from any row on (`extents`, `read_rows`).
JSON lines, delimited text and archives are streams: only their end tells how long they are, and one reader reads all
of one (`read_stream`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.formats import delimited, json_lines, parquet, plain_text, warc, webdataset
from pipeline.corpus.formats.base import BadRow, Extent, RawRows, ReaderOptions, Skip, UnreadableError
from pipeline.corpus.formats.columns import plain_type
from pipeline.errors import SourceError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipeline.corpus.source_file import Format, SourceFile

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
    "keep_schema",
    "read_rows",
    "read_stream",
    "resolve_columns",
]

RESERVED_COLUMNS: Final = frozenset(
    {"id", "text", "vector", "hs_norm", "rw_norm", "n_tokens", "truncated", "source", "slice", "row"}
    | {"_score", "_distance", "_rowid", "_rowaddr"}
)
"""Names that a metadata column cannot have, because the table uses them itself."""

_STREAMS: Final[Mapping[Format, Any]] = {
    "jsonl": json_lines,
    "csv": delimited,
    "tsv": delimited,
    "warc": warc,
    "webdataset": webdataset,
}
_EXPANSION: Final = 4
"""How much larger than its file a compressed text is taken to be."""
_TEXT_NAMES: Final = ("content", "body", "document")
_ID_NAMES: Final = ("id", webdataset.KEY)


def is_stream(file: SourceFile) -> bool:
    """Whether the file's rows can only be counted by reading all of it."""
    return file.format in _STREAMS


def file_schema(file: SourceFile, *, storage_options: Mapping[str, Any] | None = None) -> pa.Schema:
    """Names and types of the file's columns; for streams as far as its first thousand rows show.

    Raises:
        UnreadableError: the file is damaged.
        SourceError: its storage failed.
    """
    if file.format == "parquet":
        return parquet.schema(file, storage_options)
    if file.format == "lance":
        return _lance().schema(file, storage_options)
    if file.format in {"text", "warc"}:
        return plain_text.SCHEMA if file.format == "text" else warc.SCHEMA
    return _STREAMS[file.format].schema(file, storage_options)


def _lance() -> Any:
    from pipeline.corpus.formats import lance_table

    return lance_table


def _first_schema(files: Sequence[SourceFile], storage_options: Mapping[str, Any] | None) -> tuple[pa.Schema, str]:
    """The schema of the first file that has one, and its URI. Text files say nothing, unless there are only such."""
    tabular = [file for file in files if file.format != "text"]
    if not tabular:
        return plain_text.SCHEMA, files[0].uri
    problem = "it holds no column"
    for file in sorted(tabular, key=lambda each: each.uri):
        try:
            schema = file_schema(file, storage_options=storage_options)
        except UnreadableError as error:
            problem = str(error)
            continue
        if schema.names:
            return schema, file.uri
    if len(tabular) < len(files):
        return plain_text.SCHEMA, files[0].uri
    raise SourceError(f"none of {len(tabular)} files can be read; the last one, {tabular[-1].uri}: {problem}")


def resolve_columns(
    files: Sequence[SourceFile], options: ReaderOptions, *, storage_options: Mapping[str, Any] | None = None
) -> ReaderOptions:
    """The options with text and id settled, checked against the first file that can be read.

    Text is the column ``text``, else the only one of ``content``, ``body`` and ``document``. Id is the column ``id``,
    else ``__key__``, which every WebDataset has; else it stays None: derived.

    Raises:
        UsageError: `slice_rows` is not positive, or a metadata column has a name that the table uses itself.
        SourceError: a named column is not there, no text column can be found, or no file can be read.
    """
    if options.slice_rows < 1:
        raise UsageError(f"slice_rows={options.slice_rows}: a slice has at least one row")
    reserved = [name for name in options.keep if name in RESERVED_COLUMNS]
    if reserved:
        raise UsageError(f"keep: the table has a column {reserved[0]!r} of its own; rename the one in the files")
    schema, uri = _first_schema(files, storage_options)
    text = options.text or _default_text(schema.names, uri)
    resolved = replace(
        options,
        text=text,
        id=options.id or next((name for name in _ID_NAMES if name in schema.names and name != text), None),
        keep=tuple(dict.fromkeys(options.keep)),
    )
    for name in resolved.columns:
        _check_named(name, schema)
    _check_type(text, schema, "text", textual=True)
    if resolved.id is not None:
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


def keep_schema(
    files: Sequence[SourceFile], options: ReaderOptions, *, storage_options: Mapping[str, Any] | None = None
) -> pa.Schema:
    """Names and types of the metadata columns, all nullable, from the first file that can be read.

    Values of later files are cast to these types; a row whose value does not fit is rejected. Dictionaries are
    decoded, extension types reduced to their storage, columns without any value become strings.

    Raises:
        SourceError: a column is not there, or is one that Lance cannot store, or no file can be read.
    """
    if not options.keep:
        return pa.schema([])
    schema, _ = _first_schema(files, storage_options)
    for name in options.keep:
        _check_named(name, schema)
        _check_storable(name, plain_type(schema.field(name).type))
    return pa.schema([(name, plain_type(schema.field(name).type)) for name in options.keep])


def _check_storable(name: str, given: pa.DataType) -> None:
    if not name or "." in name:
        raise SourceError(f"column {name!r} cannot be kept: a table's columns have names without dots; rename it")
    if not _is_storable(given):
        raise SourceError(f"column {name!r} is {given}, which a table cannot hold; leave it out, or convert it")


def _is_storable(given: pa.DataType) -> bool:
    """Lance 14 holds no maps, unions, intervals, or fixed-size lists of anything but numbers."""
    if pa.types.is_map(given) or pa.types.is_union(given) or pa.types.is_interval(given):
        return False
    inner = [given.field(index).type for index in range(given.num_fields)]
    if pa.types.is_fixed_size_list(given) and not pa.types.is_primitive(inner[0]):
        return False
    return all(map(_is_storable, inner))


def extents(
    file: SourceFile, options: ReaderOptions, *, storage_options: Mapping[str, Any] | None = None
) -> tuple[Extent, ...] | None:
    """How the file's rows are stored, from its metadata alone; None for a stream.

    Raises:
        UnreadableError: the file is damaged.
        SourceError: its storage failed.
    """
    if file.format == "parquet":
        return parquet.extents(file, options.columns, storage_options)
    if file.format == "lance":
        return _lance().extents(file, options.columns, storage_options)
    return (Extent(1, inflated_size(file)),) if file.format == "text" else None


def inflated_size(file: SourceFile) -> int:
    """About how many bytes of text the file holds."""
    return file.size * (_EXPANSION if file.compression else 1)


def read_rows(
    file: SourceFile,
    options: ReaderOptions,
    start: int,
    stop: int,
    *,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[RawRows]:
    """The rows ``start`` to ``stop`` of a file that is no stream, in order, at most `slice_rows` at a time.

    Raises:
        UnreadableError: the file is damaged, or lacks a column; rows before the damage are given first.
        SourceError: its storage failed.
    """
    if file.format == "text":
        yield plain_text.read(file, options, storage_options)
        return
    read = parquet.read if file.format == "parquet" else _lance().read
    row = start
    for table in read(file, options.columns, start, stop, options.slice_rows, storage_options):
        yield RawRows(row, row + table.num_rows, table, np.arange(row, row + table.num_rows))
        row += table.num_rows


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
    return _STREAMS[file.format].stream(file, options, keep, skip, storage_options)
