"""CSV and TSV with a header: a row of another width than the header's costs that row and nothing else.

Not parsed by Arrow, which gives up the file at an unbalanced quotation mark, and at a field that is longer than its
block.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.dialect import dialect_of
from pipeline.corpus.formats.base import (
    BadRow,
    RawRows,
    ReaderOptions,
    Skip,
    UnreadableError,
    require_columns,
)
from pipeline.corpus.formats.columns import fit, is_name
from pipeline.corpus.formats.content import utf8_chunks
from pipeline.corpus.formats.delimited.records import Record, Row, read_records
from pipeline.corpus.formats.lines import in_blocks, in_groups, in_slices, universal_line_blocks
from pipeline.corpus.formats.records import column_types
from pipeline.rejects import MALFORMED, NOT_UTF8

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.corpus.dialect import Dialect
    from pipeline.corpus.source_file import SourceFile

__all__ = ["schema", "stream"]

_SAMPLE_ROWS: Final = 1024
_BLOCK_ROWS: Final = 256


def _opened(file: SourceFile, storage_options: Mapping[str, Any] | None) -> tuple[list[str], Iterator[Record]]:
    """The header and the records after it; an empty header if the file is empty."""
    records = read_records(universal_line_blocks(utf8_chunks(file, storage_options)), dialect_of(file))
    header = next(records, Row(1, []))
    if isinstance(header, BadRow):
        raise UnreadableError(f"the header: {header.detail}")
    return header.cells, records


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names from the header; types that hold what the first thousand rows have."""
    header, records = _opened(file, storage_options)
    first = next(in_groups(in_blocks(records, 1), _SAMPLE_ROWS), [])
    rows = [each.cells for each in first if isinstance(each, Row) and len(each.cells) == len(header)]
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
    blocks, dialect = in_blocks(records, _BLOCK_ROWS), dialect_of(file)
    yield from in_slices(
        blocks, options.slice_rows, skip, lambda group, start: _to_columns(group, start, header, types, dialect)
    )


def _to_columns(
    group: list[Record], start: int, header: list[str], types: Mapping[str, pa.DataType], dialect: Dialect
) -> RawRows:
    bad: dict[int, BadRow] = {}
    rows: list[int] = []
    records: list[list[str]] = []
    wanted = [header.index(name) for name in types]
    for row, record in enumerate(group, start):
        problem = record if isinstance(record, BadRow) else _problem(record, len(header), wanted, dialect)
        if problem is not None:
            bad[row] = BadRow(row, problem.reason, problem.detail)
        elif isinstance(record, Row):
            rows.append(row)
            records.append(record.cells)
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


def _problem(row: Row, width: int, wanted: list[int], dialect: Dialect) -> BadRow | None:
    """What is wrong with a record. Empty cells behind the header's last column are nothing, and left out of account."""
    if len(row.cells) < width or any(row.cells[width:]):
        return BadRow(-1, MALFORMED, f"line {row.line}: {len(row.cells)} cells; the header has {width} ({dialect})")
    for index in wanted:
        if not row.cells[index].isascii():
            try:
                row.cells[index].encode()
            except UnicodeEncodeError:
                return BadRow(-1, NOT_UTF8, f"line {row.line}, cell {index + 1}: no {dialect.encoding}")
    return None
