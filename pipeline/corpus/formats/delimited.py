"""CSV and TSV with a header: quoted line ends are fine; a row of another width costs that row and nothing else.

Parsed by the standard library and not by Arrow: Arrow gives up the file at an unbalanced quote, and at a field that
is longer than its block.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.formats.base import (
    MAX_TEXT_BYTES,
    BadRow,
    RawRows,
    ReaderOptions,
    Skip,
    UnreadableError,
    require_columns,
)
from pipeline.corpus.formats.columns import fit, is_name
from pipeline.corpus.formats.content import plain_chunks
from pipeline.corpus.formats.lines import in_blocks, in_groups, in_slices, line_blocks
from pipeline.corpus.formats.records import column_types
from pipeline.rejects import MALFORMED, NOT_UTF8, TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["schema", "stream"]

Record = list[str] | BadRow

_SAMPLE_ROWS: Final = 1024
_BLOCK_ROWS: Final = 256


class _TextLines:
    """The file's lines as csv wants them. It can be seen from outside that one was left out, or that none are left."""

    def __init__(self, file: SourceFile, storage_options: Mapping[str, Any] | None) -> None:
        blocks = line_blocks(plain_chunks(file, storage_options))
        self._lines = (line for block in blocks for line in block)
        self.too_long = False
        self.exhausted = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.exhausted = True
            raise
        if line is None:
            self.too_long = True
            return "\n"
        return line.decode("utf-8", "surrogateescape") + "\n"


def _records(lines: _TextLines, delimiter: str) -> Iterator[Record]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_TEXT_BYTES))
    reader = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(-1, MALFORMED, str(error))
            continue
        if lines.exhausted:  # csv asks for another line only inside quotes
            yield BadRow(-1, MALFORMED, "a quote is opened here and not closed before the end of the file")
            return
        if lines.too_long:
            lines.too_long = False
            yield BadRow(-1, TOO_LONG, "a line of more than 64 MiB")
        elif record:
            yield record


def _opened(file: SourceFile, storage_options: Mapping[str, Any] | None) -> tuple[list[str], Iterator[Record]]:
    """The header and the records after it; an empty header if the file is empty."""
    records = _records(_TextLines(file, storage_options), "\t" if file.format == "tsv" else ",")
    header = next(records, [])
    if isinstance(header, BadRow):
        raise UnreadableError(f"the header: {header.detail}")
    return header, records


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names from the header; types that hold what the first thousand rows have."""
    header, records = _opened(file, storage_options)
    first = next(in_groups(in_blocks(records, 1), _SAMPLE_ROWS), [])
    rows = [each for each in first if isinstance(each, list) and len(each) == len(header)]
    return pa.schema(
        [(name, _infer([row[index] for row in rows])) for index, name in enumerate(header) if is_name(name)]
    )


def _infer(cells: list[str]) -> pa.DataType:
    """Integer, float or truth value if all cells are that; an integer only if no digit would be lost ("007")."""
    filled = [cell for cell in cells if cell]
    if not filled:
        return pa.string()
    try:
        strings = pa.array(filled, pa.string())
    except UnicodeEncodeError:
        return pa.string()
    for to in (pa.int64(), pa.float64(), pa.bool_()):
        try:
            cast = strings.cast(to)
        except pa.ArrowException:
            continue
        if to == pa.bool_() or not any(len(cell) > 1 and cell[0] == "0" and cell[1].isdigit() for cell in filled):
            return cast.type
    return pa.string()


def stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    skip: Skip,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[RawRows]:
    """The file's slices in order; `keep` gives the types of the metadata columns."""
    header, records = _opened(file, storage_options)
    if not header:
        return
    require_columns(options.columns, header)
    types = column_types(options, keep)
    blocks = in_blocks(records, _BLOCK_ROWS)
    yield from in_slices(
        blocks, options.slice_rows, skip, lambda group, start: _to_columns(group, start, header, types)
    )


def _to_columns(group: list[Record], start: int, header: list[str], types: Mapping[str, pa.DataType]) -> RawRows:
    bad: dict[int, BadRow] = {}
    rows: list[int] = []
    records: list[list[str]] = []
    wanted = [header.index(name) for name in types]
    for row, record in enumerate(group, start):
        problem = _problem(record, len(header), wanted)
        if problem is not None:
            bad[row] = BadRow(row, problem.reason, problem.detail)
        elif isinstance(record, list):
            rows.append(row)
            records.append(record)
    columns: dict[str, pa.Array] = {}
    for index, (name, to) in zip(wanted, types.items(), strict=True):
        cells = [record[index] for record in records]
        is_string = pa.types.is_string(to) or pa.types.is_large_string(to)
        strings = pa.array(cells if is_string else [cell or None for cell in cells], pa.large_string())
        columns[name], misfits = fit(strings, to)
        for position, detail in misfits:
            bad.setdefault(rows[position], BadRow(rows[position], MALFORMED, f"{name}: {detail}"))
    good = np.array([row not in bad for row in rows], dtype=bool)
    table = pa.table(columns).filter(pa.array(good))
    return RawRows(start, start + len(group), table, np.array(rows, np.int64)[good], tuple(bad.values()))


def _problem(record: Record, width: int, wanted: list[int]) -> BadRow | None:
    if isinstance(record, BadRow):
        return record
    if len(record) != width:
        return BadRow(-1, MALFORMED, f"{len(record)} cells; the header has {width}")
    for index in wanted:
        if not record[index].isascii():
            try:
                record[index].encode()
            except UnicodeEncodeError as error:
                return BadRow(-1, NOT_UTF8, f"cell {index + 1}: {error.reason}")
    return None
