"""JSON files: a document, which is an array of rows or a row of its own, or JSON lines under another name.

A line of a document may be an object by itself, and no row. So a file is read as lines only if that is what its
beginning looks like: in a document a comma or a bracket stands between two objects, so that of its lines at most half
are objects. What is neither is refused as a whole. A document is held in memory.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from pipeline.corpus.formats.base import MAX_TEXT_BYTES, RawRows, ReaderOptions, Skip, UnreadableError
from pipeline.corpus.formats.content import head_and_rest, utf8_chunks
from pipeline.corpus.formats.json_lines import schema_of, stream_of
from pipeline.corpus.formats.lines import SAMPLE_ROWS
from pipeline.corpus.formats.records import (
    Record,
    as_record,
    parse_json,
    parse_object,
    records_schema,
    stream_records,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from pipeline.corpus.source_file import SourceFile

__all__ = ["schema", "stream"]

_BLOCK_ROWS: Final = 256
_HEAD_BYTES: Final = 64 << 10
"""About how much is looked at, and the first line whatever its length."""
_LINES: Final = 1000


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names and types of the keys in the first rows.

    Raises:
        UnreadableError: it is neither a document nor lines, or a document of more than 64 MiB.
    """
    head, rest = head_and_rest(utf8_chunks(file, storage_options), _is_enough)
    if not _is_document(head):
        return schema_of(chain([head], rest))
    rows = _rows(chain([head], rest))
    found = records_schema(rows[:SAMPLE_ROWS])
    if rows and not found.names:
        raise UnreadableError("a JSON document without an object that could be a row")
    return found


def stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    skip: Skip,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[RawRows]:
    """The file's slices in order; `keep` gives the types of the metadata columns."""
    head, rest = head_and_rest(utf8_chunks(file, storage_options), _is_enough)
    if _is_document(head):
        yield from stream_records(_rows(chain([head], rest)), options, keep, skip, _BLOCK_ROWS)
    else:
        yield from stream_of(chain([head], rest), options, keep, skip)


def _is_enough(size: int, chunk: bytes) -> bool:
    return size > MAX_TEXT_BYTES or (size >= _HEAD_BYTES and b"\n" in chunk)


def _is_document(head: bytes) -> bool:
    text = head.strip()
    if not text.startswith((b"[", b"{")):
        return False
    lines = [line for line in islice(text.splitlines(), _LINES) if line and not line.isspace()]
    if len(lines) == 1:
        return text.startswith(b"[")
    objects = [isinstance(parse_object(line), dict) for line in lines]
    return not objects[0] and 2 * sum(objects) <= len(lines)


def _rows(chunks: Iterator[bytes]) -> list[Record]:
    pieces: list[bytes] = []
    size = 0
    for piece in chunks:
        size += len(piece)
        if size > MAX_TEXT_BYTES:
            raise UnreadableError("a JSON document of more than 64 MiB: write it as JSON lines, an object a line")
        pieces.append(piece)
    try:
        found = parse_json(b"".join(pieces))
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"neither a JSON document nor JSON lines, an object a line: {error}") from error
    return [as_record(each) for each in (found if isinstance(found, list) else [found])]
