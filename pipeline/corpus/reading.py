"""Reading a work unit: from a plan's line to batches of documents that an encoder takes as they are.

A batch is made of whole slices, so that everything that belongs to a slice is committed at once. A file that cannot
be read becomes rejects here; a storage that fails raises, because the same unit may succeed later.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.document_checks import MISFITS, check, to_rows
from pipeline.corpus.kept_columns import keep_schema
from pipeline.corpus.planner import MAX_BYTES, MAX_ROWS
from pipeline.corpus.readers import (
    RawRows,
    ReaderOptions,
    UnreadableError,
    extents,
    inflated_size,
    is_stream,
    read_rows,
    read_stream,
)
from pipeline.corpus.slices import Done, FileRecord, Slice, UnitPart, WorkUnit, finished, slice_of
from pipeline.prefetch import map_ahead
from pipeline.rejects import UNREADABLE, WHOLE_SLICE, slice_rejects
from pipeline.storage import is_local

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["DocumentBatch", "Only", "every_row", "read_slices", "read_unit"]

logger = logging.getLogger(__name__)

_SMALL: Final = 1 << 20
"""Bytes of a stream that may be read before its turn: what it holds is only guessed from its size."""


Only = Callable[[pa.Table], pa.Table]
"""Rows or rejects, with slice and row → those that are wanted."""


def every_row(rows: pa.Table) -> pa.Table:
    """All are wanted."""
    return rows


@dataclass(frozen=True, slots=True)
class DocumentBatch:
    """Some slices, whole.

    `documents` has the columns of `documents_schema`, `rejects` those of `REJECTS`. `slices` are the ids of
    all slices in the batch, also of those without a document. `finished_files` are the files of which nothing is
    planned behind this batch; a batch may consist of these alone. `misfits` (MISFITS): metadata that is null because it
    did not fit its column.
    """

    documents: pa.Table
    rejects: pa.Table
    slices: tuple[int, ...]
    finished_files: tuple[FileRecord, ...]
    misfits: pa.Table = field(default_factory=MISFITS.empty_table)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A whole slice, or with `slice` None only the news that a stream is finished."""

    slice: Slice | None
    rows: pa.Table | None = None
    rejects: pa.Table | None = None
    misfits: pa.Table | None = None
    record: FileRecord | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    options: ReaderOptions
    keep: pa.Schema
    is_done: Callable[[int], bool]
    storage_options: Mapping[str, Any] | None
    only: Only


def read_unit(
    unit: WorkUnit,
    options: ReaderOptions,
    *,
    keep: pa.Schema | None = None,
    done: Done = None,
    storage_options: Mapping[str, Any] | None = None,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    only: Only = every_row,
) -> Iterator[DocumentBatch]:
    """The unit's documents and rejects, in the order of its parts and rows.

    Args:
        unit: from `plan`.
        options: resolved reader options.
        keep: names and types of the metadata columns, as `keep_schema` gave them for the table. None: from the
            unit's own files.
        done: ids of finished slices, which are left out.
        storage_options: for remote files.
        max_rows: most rows in a batch, unless one slice has more.
        max_bytes: most bytes in a batch, unless one slice has more.
        only: which rows are wanted; the others are left out before ids are compared.

    Raises:
        SourceError: a storage failed; nothing of the unit is lost, it can be read again.
    """
    if keep is None:
        keep = keep_schema([part.file for part in unit.parts], options, storage_options=storage_options)
    reading = _Reading(options, keep, finished(done), storage_options, only)
    batch = _Batch(reading)
    for pieces in _parts(unit, reading):
        for piece in pieces:
            if batch.pieces and not batch.has_room(piece, max_rows, max_bytes):
                yield batch.take()
            batch.add(piece)
    if batch.pieces:
        yield batch.take()


def read_slices(
    unit: WorkUnit,
    options: ReaderOptions,
    *,
    keep: pa.Schema,
    is_done: Callable[[int], bool],
    storage_options: Mapping[str, Any] | None = None,
    only: Only = every_row,
) -> Iterator[DocumentBatch]:
    """As `read_unit`, but each slice alone, and given out before the next one is touched.

    For each slice of a stream `is_done` is asked once, in order, when the slice's bytes have been read and before they
    are parsed.
    """
    reading = _Reading(options, keep, is_done, storage_options, only)
    for part in unit.parts:
        for piece in _pieces(part, reading):
            batch = _Batch(reading)
            batch.add(piece)
            yield batch.take()


@dataclass(slots=True)
class _Batch:
    reading: _Reading
    pieces: list[_Piece] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def has_room(self, piece: _Piece, max_rows: int, max_bytes: int) -> bool:
        if piece.rows is None:
            return True
        return self.rows + _row_count(piece) <= max_rows and self.bytes + piece.rows.nbytes <= max_bytes

    def add(self, piece: _Piece) -> None:
        self.pieces.append(piece)
        self.rows += _row_count(piece)
        self.bytes += 0 if piece.rows is None else piece.rows.nbytes

    def take(self) -> DocumentBatch:
        tables = [piece.rows for piece in self.pieces if piece.rows is not None]
        rejects = [piece.rejects for piece in self.pieces if piece.rejects is not None]
        found = [piece.misfits for piece in self.pieces if piece.misfits is not None]
        slices = tuple(piece.slice.id for piece in self.pieces if piece.slice is not None)
        records = tuple(piece.record for piece in self.pieces if piece.record is not None)
        only, keep = self.reading.only, self.reading.keep
        documents, rejected = check(only(pa.concat_tables(tables)) if tables else _no_rows(keep), keep)
        misfits = pa.concat_tables([MISFITS.empty_table(), *map(only, found)])
        self.pieces, self.rows, self.bytes = [], 0, 0
        return DocumentBatch(documents, pa.concat_tables([*map(only, rejects), rejected]), slices, records, misfits)


def _row_count(piece: _Piece) -> int:
    return sum(table.num_rows for table in (piece.rows, piece.rejects) if table is not None)


def _no_rows(keep: pa.Schema) -> pa.Table:
    own = [("id", pa.string()), ("text", pa.large_string()), ("source", pa.string()), ("slice", pa.int64())]
    return pa.schema([*own, ("row", pa.int64()), *keep]).empty_table()


def _parts(unit: WorkUnit, reading: _Reading) -> Iterator[Iterable[_Piece]]:
    """The pieces of each part; small remote files are read side by side, into memory that the unit's size bounds."""
    if len(unit.parts) == 1 or all(is_local(part.file.uri) for part in unit.parts):
        return (_pieces(part, reading) for part in unit.parts)

    def read(part: UnitPart) -> Iterable[_Piece]:
        is_small = part.slices is not None or inflated_size(part.file) <= _SMALL
        return list(_pieces(part, reading)) if is_small else _pieces(part, reading)

    return (pieces for _, pieces in map_ahead(read, unit.parts))


def _pieces(part: UnitPart, reading: _Reading) -> Iterator[_Piece]:
    if part.slices is not None:
        yield from _known_slices(part, reading)
    elif is_stream(part.file):
        yield from _stream(part, reading)
    else:
        yield from _damaged(part, reading)


def _unreadable(part: UnitPart, slice_: Slice, error: UnreadableError) -> _Piece:
    logger.debug("%s, rows from %d: unreadable: %s", part.file.uri, slice_.start, error)  # the run names the file
    rejects = slice_rejects([(WHOLE_SLICE, None, UNREADABLE, str(error))], part.file.uri, slice_.id)
    return _Piece(slice_, rejects=rejects)


def _piece(raw: RawRows, slice_: Slice, part: UnitPart, reading: _Reading) -> _Piece:
    try:
        rows, rejects, misfits = to_rows(raw, part.file, slice_, reading.options, reading.keep)
    except UnreadableError as error:
        return _unreadable(part, slice_, error)
    return _Piece(slice_, rows, rejects, misfits)


def _damaged(part: UnitPart, reading: _Reading) -> Iterator[_Piece]:
    """A file whose rows could not be counted, though its format allows it: one reject."""
    slice_ = slice_of(part.file, 0, reading.options)
    error = UnreadableError("the file could not be read when it was planned")
    try:
        _ = extents(part.file, reading.options, storage_options=reading.storage_options)
        for _ in read_rows(part.file, reading.options, 0, 1, storage_options=reading.storage_options):
            break
    except UnreadableError as found:
        error = found
    record = FileRecord(part.file.uri, part.file.version, 1, 0)
    if not reading.is_done(slice_.id):
        yield _unreadable(part, slice_, error)
    yield _Piece(None, record=record)


def _stream(part: UnitPart, reading: _Reading) -> Iterator[_Piece]:
    """All slices of a stream, then its record. A break gets the slice after the last one that has rows."""

    def skip(start: int) -> bool:
        return reading.is_done(slice_of(part.file, start, reading.options).id)

    rows = slices = 0
    try:
        for raw in read_stream(
            part.file, reading.options, reading.keep, skip=skip, storage_options=reading.storage_options
        ):
            rows, slices = raw.stop, slices + 1
            if raw.table is not None:
                yield _piece(raw, slice_of(part.file, raw.start, reading.options), part, reading)
    except UnreadableError as error:
        broken = slice_of(part.file, slices * reading.options.slice_rows, reading.options)
        slices += 1
        if not reading.is_done(broken.id):
            yield _unreadable(part, broken, error)
    yield _Piece(None, record=FileRecord(part.file.uri, part.file.version, slices, rows))


def _known_slices(part: UnitPart, reading: _Reading) -> Iterator[_Piece]:
    """Slices of a file that can be read from any row on, neighbours in one pass; behind the last ones its record."""
    todo = [each for each in part.slices or () if not reading.is_done(each.id)]
    cuts = [0, *(index for index, (a, b) in enumerate(pairwise(todo), 1) if a.stop != b.start), len(todo)]
    for start, stop in pairwise(cuts):
        yield from _run(part, todo[start:stop], reading)
    if part.last:
        yield _Piece(None, record=part.record(reading.options))


def _run(part: UnitPart, run: list[Slice], reading: _Reading) -> Iterator[_Piece]:
    """Neighbouring slices. After damage the rest is tried again: it may lie in a sound part of the file."""
    while run:
        try:
            for raw in _by_slice(part, run, reading):
                yield _piece(raw, run[0], part, reading)
                run = run[1:]
        except UnreadableError as error:
            yield _unreadable(part, run[0], error)
            run = run[1:]
        else:
            for missing in run:
                error = UnreadableError("the file has fewer rows than when it was planned")
                yield _unreadable(part, missing, error)
            return


def _by_slice(part: UnitPart, run: list[Slice], reading: _Reading) -> Iterator[RawRows]:
    """The rows of each slice of the run, as they are read in pieces that do not care for slices."""
    pending: list[RawRows] = []
    ends = iter(run)
    end = next(ends).stop
    for raw in read_rows(
        part.file, reading.options, run[0].start, run[-1].stop, storage_options=reading.storage_options
    ):
        rest: RawRows | None = raw
        while rest is not None:
            head, rest = _cut(rest, end)
            pending.append(head)
            if head.stop == end:
                yield _joined(pending)
                pending, end = [], next(ends, run[-1]).stop


def _cut(raw: RawRows, at: int) -> tuple[RawRows, RawRows | None]:
    if raw.stop <= at or raw.table is None:
        return raw, None
    size = at - raw.start
    head = RawRows(raw.start, at, raw.table.slice(0, size), raw.rows[:size], raw.bad, raw.misfits)
    return head, RawRows(at, raw.stop, raw.table.slice(size), raw.rows[size:])


def _joined(pieces: list[RawRows]) -> RawRows:
    if len(pieces) == 1:
        return pieces[0]
    table = pa.concat_tables([each.table for each in pieces if each.table is not None])
    rows = np.concatenate([each.rows for each in pieces])
    bad = tuple(bad for each in pieces for bad in each.bad)
    misfits = tuple(misfit for each in pieces for misfit in each.misfits)
    return RawRows(pieces[0].start, pieces[-1].stop, table, rows, bad, misfits)
