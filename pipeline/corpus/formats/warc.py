"""Web archives: each plain text in them is a document; Common Crawl's WET files hold nothing else.

Rows are the records that hold content, in order; what only describes the crawl (warcinfo, request, metadata, revisit)
is none. A page as it was fetched is HTML behind HTTP: making text of it is a decision about the corpus, and not made
here. warcio is lenient with damage, and says what it finds on stderr; so the lengths are checked here.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from warcio.archiveiterator import WARCIterator
from warcio.exceptions import ArchiveLoadFailed

from pipeline.corpus.formats.base import (
    MAX_TEXT_BYTES,
    BadRow,
    RawRows,
    ReaderOptions,
    Skip,
    UnreadableError,
    columns_there,
)
from pipeline.corpus.formats.content import ForwardFile, plain_chunks
from pipeline.corpus.formats.records import Record, stream_records
from pipeline.rejects import NOT_TEXT, NOT_UTF8, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["schema", "stream"]

_SCHEMA: Final = pa.schema([(name, pa.string()) for name in ("id", "text", "url", "date", "language")])
"""id without its angle brackets; date as it stands there, ISO 8601; language as the crawler identified it."""

_HEADERS: Final = {"url": "WARC-Target-URI", "date": "WARC-Date", "language": "WARC-Identified-Content-Language"}
_ABOUT_THE_CRAWL: Final = frozenset({"warcinfo", "request", "metadata", "revisit"})
_WITH_TEXT: Final = frozenset({"conversion", "resource"})
_BLOCK_ROWS: Final = 64
_SKIP_BYTES: Final = 1 << 20


class _Records(WARCIterator):
    INC_RECORD = ""  # said on stderr otherwise; `err_count` tells


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """The same columns for every archive."""
    del file, storage_options
    return _SCHEMA


def stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    skip: Skip,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[RawRows]:
    """The file's slices in order; `keep` gives the types of the metadata columns."""
    columns_there(options, _SCHEMA.names)
    return stream_records(_rows(plain_chunks(file, storage_options)), options, keep, skip, _BLOCK_ROWS)


def _rows(chunks: Iterator[bytes]) -> Iterator[Record]:
    head = next(chunks, b"")
    if head and not head.startswith(b"WARC/"[: len(head)]):
        raise UnreadableError(f"not a WARC file: it begins with {head[:20]!r}")
    archive = _Records(ForwardFile(chain([head], chunks)), no_record_parse=True)
    while (record := _next(archive)) is not None:
        row = None if record.rec_type in _ABOUT_THE_CRAWL else _row(record)
        for _ in iter(lambda: record.raw_stream.read(_SKIP_BYTES), b""):
            pass
        if record.raw_stream.tell() < record.length:
            raise UnreadableError(f"{_id(record)} has {record.raw_stream.tell()} of {record.length} bytes: cut off")
        if row is not None:
            yield row


def _next(archive: _Records) -> Any:
    try:
        record: Any = next(archive, None)
    except (ArchiveLoadFailed, ValueError) as error:
        raise UnreadableError(f"a damaged record: {str(error)[:200]}") from error
    if archive.err_count:
        raise UnreadableError("a record is longer than its Content-Length")
    if record is not None and record.length is None:
        raise UnreadableError(f"{_id(record)} has no Content-Length")
    return record


def _row(record: Any) -> Record:
    media = (record.content_type or "text/plain").split(";")[0].strip().lower()
    if record.rec_type not in _WITH_TEXT or media != "text/plain":
        return BadRow(-1, NOT_TEXT, f"{_id(record)} is a {record.rec_type} of {media}; WET files hold the text")
    if record.length > MAX_TEXT_BYTES:
        return BadRow(-1, TOO_LONG, f"{_id(record)} has more than 64 MiB")
    try:
        text = record.raw_stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return BadRow(-1, NOT_UTF8, f"{_id(record)}: {error}")
    headers = {name: record.rec_headers.get_header(header) for name, header in _HEADERS.items()}
    return {"id": _id(record), "text": text, **headers}


def _id(record: Any) -> str | None:
    identifier: str | None = record.rec_headers.get_header("WARC-Record-ID")
    return None if identifier is None else identifier.strip().removeprefix("<").removesuffix(">")
