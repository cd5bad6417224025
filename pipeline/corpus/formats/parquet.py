"""Parquet: only the columns that are needed, only the row groups that hold wanted rows, a batch at a time.

Inside a row group rows can only be reached by decoding those before them; `Extent.sequential` tells the planner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.corpus.formats.base import Extent, GuardedFile, RawRows, ReaderOptions, columns_there, opened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.corpus.source_file import SourceFile

__all__ = ["extents", "read", "schema"]

_BUFFER_BYTES: Final = 4 << 20
"""Read-ahead in each column; without it Arrow holds the whole compressed column of a row group."""


def _open(guard: GuardedFile) -> pq.ParquetFile:
    # Spark writes INT96, in which Arrow takes times for nanoseconds, and the year 9999 for 1816.
    return pq.ParquetFile(guard, pre_buffer=False, buffer_size=_BUFFER_BYTES, coerce_int96_timestamp_unit="us")


def schema(file: SourceFile, storage_options: Mapping[str, Any] | None) -> pa.Schema:
    """Names and types of all columns."""
    with opened(file, storage_options) as guard:
        return _open(guard).schema_arrow


def extents(file: SourceFile, options: ReaderOptions, storage_options: Mapping[str, Any] | None) -> tuple[Extent, ...]:
    """One for each row group, from the file's footer alone; its bytes are those of the columns to read."""
    with opened(file, storage_options) as guard:
        source = _open(guard)
        columns = columns_there(options, source.schema_arrow.names)
        metadata = source.metadata
        return tuple(_extent(metadata.row_group(index), columns) for index in range(metadata.num_row_groups))


def _extent(group: Any, columns: list[str]) -> Extent:
    leaves = [group.column(index) for index in range(group.num_columns)]
    wanted = (leaf for leaf in leaves if any(_within(leaf.path_in_schema, name) for name in columns))
    size = sum(leaf.total_uncompressed_size for leaf in wanted)
    return Extent(group.num_rows, size, sequential=True)


def _within(leaf: str, column: str) -> bool:
    return leaf == column or leaf.startswith(f"{column}.")


def read(
    file: SourceFile, options: ReaderOptions, start: int, stop: int, storage_options: Mapping[str, Any] | None
) -> Iterator[RawRows]:
    """The rows ``start`` to ``stop`` in order, up to `options.slice_rows` at a time."""
    with opened(file, storage_options) as guard:
        source = _open(guard)
        columns = columns_there(options, source.schema_arrow.names)
        groups, row = _groups(source.metadata, start, stop)
        for batch in source.iter_batches(options.slice_rows, row_groups=groups, columns=columns, use_threads=False):
            first, last = max(start - row, 0), min(stop - row, batch.num_rows)
            if first < last:
                wanted = pa.Table.from_batches([batch.slice(first, last - first)]).select(columns)
                yield RawRows.numbered(wanted, row + first)
            row += batch.num_rows
            if row >= stop:
                return


def _groups(metadata: Any, start: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold rows of ``start`` to ``stop``, and the number of the first one's first row."""
    groups: list[int] = []
    first_row = row = 0
    for index in range(metadata.num_row_groups):
        end = row + metadata.row_group(index).num_rows
        if row < stop and end > start:
            first_row = row if not groups else first_row
            groups.append(index)
        row = end
    return groups, first_row
