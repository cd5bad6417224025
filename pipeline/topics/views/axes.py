"""Which columns of a table are worth counting topics over, or by, judged by their types and their first values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.kept import kept_columns
from pipeline.table.store import storage_errors
from pipeline.topics.views.over import microseconds

if TYPE_CHECKING:
    import lance

    from pipeline.table.kept import KeptColumn

__all__ = ["axes"]

SAMPLED_ROWS: Final = 1_000
MOST_DIFFERENT: Final = 0.5
"""Share of different values up to which a column divides documents into groups."""


def axes(dataset: lance.LanceDataset) -> tuple[set[str], set[str]]:
    """The kept columns that `topics_over` takes as a time, and those that `topics_by` takes and that have groups.

    Texts are times where all of the first values are ISO 8601.
    """
    columns = [column for column in kept_columns(dataset.schema) if not column.is_list]
    with storage_errors("look into", dataset):
        rows = dataset.head(SAMPLED_ROWS, columns=[column.name for column in columns]) if columns else None
    sample = {} if rows is None else {column: rows.column(column.name).drop_null() for column in columns}
    over = {column.name for column, values in sample.items() if len(values) and _is_time(column, values)}
    by = {column.name for column, values in sample.items() if len(values) and _has_groups(column, values)}
    return over, by


def _is_time(column: KeptColumn, values: pa.ChunkedArray) -> bool:
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return microseconds(values.combine_chunks()).null_count == 0
    return column.kind in {"date", "time", "instant"} or pa.types.is_integer(values.type)


def _has_groups(column: KeptColumn, values: pa.ChunkedArray) -> bool:
    plain = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
    is_counted = column.kind in {"text", "boolean", "date"} or pa.types.is_integer(plain.type)
    return is_counted and pc.count_distinct(plain).as_py() <= MOST_DIFFERENT * len(plain)
