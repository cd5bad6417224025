"""JSON lines: one object a line; a line that is none costs its row and nothing else.

Blank lines are no rows. A slice's lines are parsed at once by Arrow; where Arrow refuses, or counts other rows than
there are lines, the slice is parsed line by line. Arrow is told the types: those that it would guess change with
what the block happens to hold, and it takes strings that look like dates for dates.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pa_json

from pipeline.arrow_types import EXACT_INTEGERS
from pipeline.corpus.formats.base import BadRow, RawRows, ReaderOptions, Skip, UnreadableError
from pipeline.corpus.formats.content import utf8_chunks
from pipeline.corpus.formats.lines import SAMPLE_ROWS, beginning, in_groups, in_slices, line_blocks
from pipeline.corpus.formats.records import Record, column_types, parse_object, records_schema, to_raw_rows
from pipeline.rejects import TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["schema", "schema_of", "stream", "stream_of"]

_LARGEST_BLOCK: Final = 1 << 30
_DOCUMENT: Final = re.compile(rb"\s*[\[{][ \t]*[\r\n]")
"""A bracket alone on the first line."""
_TOO_LONG: Final = BadRow(-1, TOO_LONG, "a line of more than 64 MiB")


def _lines(chunks: Iterable[bytes]) -> Iterator[list[bytes | None]]:
    for block in line_blocks(chunks):
        yield [line for line in block if line is None or (not line.isspace() and line)]


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names and types of the keys in the first rows.

    Raises:
        UnreadableError: there are rows, but no object among them.
    """
    return schema_of(_no_document(utf8_chunks(file, storage_options)))


def schema_of(chunks: Iterable[bytes]) -> pa.Schema:
    """`schema` of a file's content."""
    group = next(in_groups(_lines(beginning(chunks)), SAMPLE_ROWS), [])
    parsed = [_parse(line) for line in group]
    found = records_schema(parsed)
    if group and not any(isinstance(each, dict) for each in parsed):
        problem = next(each for each in parsed if isinstance(each, BadRow))
        raise UnreadableError(f"no JSON object in the first {len(group)} lines ({problem.detail}); one a line is read")
    return found


def stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    skip: Skip,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[RawRows]:
    """The file's slices in order; `keep` gives the types of the metadata columns."""
    return stream_of(_no_document(utf8_chunks(file, storage_options)), options, keep, skip)


def _no_document(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks of lines. A document is refused, of which one object or the other may stand on a line of its own."""
    for number, chunk in enumerate(chunks):
        if number == 0 and _DOCUMENT.match(chunk):
            raise UnreadableError("a JSON document, not JSON lines: with a name that ends with .json it is read")
        yield chunk


def stream_of(chunks: Iterable[bytes], options: ReaderOptions, keep: pa.Schema, skip: Skip) -> Iterator[RawRows]:
    """`stream` of a file's content."""
    types = column_types(options, keep)

    def read(lines: list[bytes | None], start: int) -> RawRows:
        table = _parse_at_once(lines, types, options)
        if table is None:
            return to_raw_rows([_parse(line) for line in lines], start, types, options)
        return RawRows.numbered(table, start)

    return in_slices(_lines(chunks), options.slice_rows, skip, read)


def _parse_at_once(
    lines: list[bytes | None], types: Mapping[str, pa.DataType], options: ReaderOptions
) -> pa.Table | None:
    """None if Arrow cannot, or would not tell numbers apart. Ids are tried as strings, then as integers."""
    objects = [line for line in lines if line is not None and _looks_like_an_object(line)]
    if len(objects) < len(lines) or sum(map(len, objects)) > _LARGEST_BLOCK:
        return None
    block = b"\n".join(objects)
    reading = pa_json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    for id_type in (pa.string(), pa.int64()) if options.id is not None else (pa.string(),):
        given = {name: _as_arrow_reads(to) for name, to in types.items()}
        if options.id is not None and options.id != options.text:
            given[options.id] = id_type
        try:
            table = pa_json.read_json(pa.BufferReader(block), reading, _parsing(given))
        except pa.ArrowException:
            continue
        table = table.select(list(given))
        return table if table.num_rows == len(lines) and _is_exact(table, types) else None
    return None


def _as_arrow_reads(to: pa.DataType) -> pa.DataType:
    """The type that Arrow's reader is told for a column of type `to`; what it reads otherwise is cast afterwards."""
    if pa.types.is_floating(to):
        return pa.float64()
    as_it_is = pa.types.is_integer(to) or pa.types.is_boolean(to) or pa.types.is_large_string(to)
    return to if as_it_is or pa.types.is_nested(to) else pa.string()


def _is_exact(table: pa.Table, types: Mapping[str, pa.DataType]) -> bool:
    """Whether no float is NaN, with which JSON says "missing", or may be an integer that was rounded, or would be."""
    floats = (each for name in table.column_names for each in _floats(table.column(name), types[name]))
    return all(pc.all(pc.less(pc.abs(each), EXACT_INTEGERS[to])).as_py() is not False for each, to in floats)


def _floats(column: pa.ChunkedArray, to: pa.DataType) -> Iterator[tuple[pa.ChunkedArray, pa.DataType]]:
    """The floats of a column, at any depth, each with the type that they are to have."""
    if pa.types.is_floating(column.type):
        yield column, to
    elif pa.types.is_struct(column.type):
        for field in column.flatten():
            yield from _floats(field, field.type)
    elif pa.types.is_nested(column.type):
        flat = pc.list_flatten(column)
        yield from _floats(flat, flat.type)


def _looks_like_an_object(line: bytes) -> bool:
    """Keeps Arrow from joining lines: ``}`` and ``{`` cannot follow each other inside an object."""
    stripped = line.strip()
    return stripped.startswith(b"{") and stripped.endswith(b"}")


def _parsing(types: Mapping[str, pa.DataType]) -> pa_json.ParseOptions:
    # Fields that are ignored inside an object would be lost without a word.
    others = "infer" if any(map(pa.types.is_nested, types.values())) else "ignore"
    return pa_json.ParseOptions(explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior=others)


def _parse(line: bytes | None) -> Record:
    return _TOO_LONG if line is None else parse_object(line)
