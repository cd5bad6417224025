"""CSV and TSV with a header: a row of another width than the header's costs that row and nothing else.

Not parsed by Arrow, which gives up the file at an unbalanced quotation mark, and at a field that is longer than its
block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.dialect import dialect_of
from pipeline.corpus.formats.base import (
    BadRow,
    Misfit,
    RawRows,
    ReaderOptions,
    Skip,
    UnreadableError,
    columns_there,
)
from pipeline.corpus.formats.columns import fit_python, infer_text, is_name
from pipeline.corpus.formats.content import utf8_chunks
from pipeline.corpus.formats.delimited.records import Record, Row, read_records
from pipeline.corpus.formats.delimited.sniffing import announced
from pipeline.corpus.formats.lines import (
    SAMPLE_ROWS,
    beginning,
    in_blocks,
    in_groups,
    in_slices,
    universal_line_blocks,
)
from pipeline.corpus.formats.records import column_types
from pipeline.rejects import MALFORMED, NOT_UTF8
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.corpus.dialect import Dialect
    from pipeline.corpus.source_file import SourceFile

__all__ = ["schema", "stream"]

_BLOCK_ROWS: Final = 256


def _opened(file: SourceFile, chunks: Iterable[bytes]) -> tuple[list[str], Iterator[Record]]:
    """The header and the records after it; an empty header if the file is empty."""
    dialect = dialect_of(file)
    records = read_records(universal_line_blocks(chunks), dialect)
    header = next(records, Row(1, []))
    if isinstance(header, Row) and announced(dialect.delimiter.join(header.cells)):
        header = next(records, Row(2, []))
    if isinstance(header, BadRow):
        raise UnreadableError(f"the header: {header.detail}")
    return header.cells, records


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names from the header; types that hold what the first rows have."""
    header, records = _opened(file, beginning(utf8_chunks(file, storage_options)))
    first = next(in_groups(in_blocks(records, 1), SAMPLE_ROWS), [])
    rows = [each.cells for each in first if isinstance(each, Row) and len(each.cells) == len(header)]
    return pa.schema(
        [(name, infer_text([row[index] for row in rows])) for index, name in enumerate(header) if is_name(name)]
    )


def stream(
    file: SourceFile,
    options: ReaderOptions,
    keep: pa.Schema,
    skip: Skip,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[RawRows]:
    """The file's slices in order; `keep` gives the types of the metadata columns."""
    header, records = _opened(file, utf8_chunks(file, storage_options))
    if not header:
        return
    there = columns_there(options, header)
    types = {name: to for name, to in column_types(options, keep).items() if name in there}
    columns = _Columns(header, types, frozenset((options.text, options.id)), dialect_of(file))
    yield from in_slices(in_blocks(records, _BLOCK_ROWS), options.slice_rows, skip, columns.rows)


@dataclass(frozen=True, slots=True)
class _Columns:
    header: list[str]
    types: Mapping[str, pa.DataType]
    """Of the columns that are read."""
    decisive: frozenset[str | None]
    """Text and id, which cost their row where they are no text; other cells are null then."""
    dialect: Dialect

    def rows(self, group: list[Record], start: int) -> RawRows:
        """The records as rows from `start` on."""
        places = {name: self.header.index(name) for name in self.types}
        wanted = [at for name, at in places.items() if name in self.decisive]
        bad: list[BadRow] = []
        rows: list[int] = []
        records: list[list[str]] = []
        for row, record in enumerate(group, start):
            problem = record if isinstance(record, BadRow) else _problem(record, len(self.header), wanted, self.dialect)
            if problem is not None:
                bad.append(BadRow(row, problem.reason, problem.detail))
            elif isinstance(record, Row):
                rows.append(row)
                records.append(record.cells)
        columns: dict[str, pa.Array] = {}
        misfits: list[Misfit] = []
        for name, at in places.items():
            columns[name], wrong = self._column(name, [record[at] for record in records])
            misfits += [(rows[position], name) for position in wrong]
        numbers = np.array(rows, np.int64)
        return RawRows(start, start + len(group), pa.table(columns), numbers, tuple(bad), tuple(misfits))

    def _column(self, name: str, cells: list[str]) -> tuple[pa.Array, list[int]]:
        """The cells of a column, and where they do not fit."""
        to = self.types[name]
        if name in self.decisive:
            return pa.array(cells, pa.large_string()), []
        is_string = pa.types.is_string(to) or pa.types.is_large_string(to)
        column, wrong = fit_python(cells if is_string else [cell or None for cell in cells], to)
        return column, [position for position, _ in wrong]


def _problem(row: Row, width: int, wanted: list[int], dialect: Dialect) -> BadRow | None:
    """What is wrong with a record. Empty cells behind the header's last column are nothing, and left out of account."""
    if len(row.cells) < width or any(row.cells[width:]):
        cells = counted(len(row.cells), "cell")
        return BadRow(-1, MALFORMED, f"line {row.line}: {cells}; the header has {width} ({dialect})")
    for index in wanted:
        if not row.cells[index].isascii():
            try:
                row.cells[index].encode()
            except UnicodeEncodeError:
                return BadRow(-1, NOT_UTF8, f"line {row.line}, cell {index + 1}: no {dialect.encoding}")
    return None
