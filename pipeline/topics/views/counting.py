"""Counting documents by value and topic; memory grows with the distinct pairs, not with the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["count_pairs"]

MAX_PARTIAL_COUNTS: Final = 1 << 20
"""Rows of partial counts in memory; above this they are summed."""


def count_pairs(parts: Iterable[tuple[pa.Array, NDArray[np.int64]]], value: pa.DataType) -> pa.Table:
    """From values [n] and topics int64 [n], part by part: a row `value`, `topic`, `count` for each pair that occurs."""
    schema = pa.schema({"value": value, "topic": pa.int64(), "count": pa.int64()})
    counts = schema.empty_table()
    for values, topics in parts:
        ones = pa.repeat(pa.scalar(1, pa.int64()), len(topics))
        part = _summed(pa.table([values.cast(value), pa.array(topics), ones], schema=schema))
        counts = pa.concat_tables([counts, part])
        if counts.num_rows > MAX_PARTIAL_COUNTS:
            counts = _summed(counts)
    return _summed(counts)


def _summed(counts: pa.Table) -> pa.Table:
    sums = counts.group_by(["value", "topic"]).aggregate([("count", "sum")])
    return sums.select(["value", "topic", "count_sum"]).rename_columns(["value", "topic", "count"])
