"""Topics by metadata: how often each topic occurs among the documents with each value of a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError, UsageError
from pipeline.topics.versions.join import TopicIndex, column_type, stream_column
from pipeline.topics.views.counting import count_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["topics_by"]

MAX_VALUES: Final = 10_000
"""Distinct values of a column."""


def topics_by(topics: Topics, column: str, *, mad: float | None = None) -> pa.Table:
    """Counts, shares and lift of topics for each value of a column (text, integer, boolean or date).

    Documents without a value are left out. Values with more documents come first, then topics with more documents.
    `mad` as in `Topics.assignments`.

    Returns:
        `value`, `topic` int64 (-1: in none), `count` int64 documents with both, `documents` int64 with the value,
        `share` float64 = count / documents, `lift` float64 = share / the topic's share of all documents that have a
        value: 2.0 means that the topic is twice as frequent as overall.

    Raises:
        UsageError: no such column, or a column of another type or with too many values.
        TopicError: no document of the model has a value.
    """
    kind = _value_type(topics, column)
    counts = count_pairs(_present(topics, TopicIndex.of(topics, mad), column), kind)
    if counts.num_rows == 0:
        raise TopicError(f"no document of {topics.tables.location} has a value in {column!r}")
    documents, sizes = _sums(counts, "value", "documents"), _sums(counts, "topic", "size")
    if documents.num_rows > MAX_VALUES:
        raise UsageError(f"column {column!r} has {documents.num_rows:,} values: a breakdown takes {MAX_VALUES:,}")
    joined = counts.join(documents, "value").join(sizes, "topic")
    share = _ratio(joined.column("count"), joined.column("documents"))
    usual = _ratio(joined.column("size"), pc.sum(counts.column("count")))
    table = joined.drop_columns("size").append_column("share", share).append_column("lift", pc.divide(share, usual))
    order = [("documents", "descending"), ("value", "ascending"), ("count", "descending"), ("topic", "ascending")]
    return table.sort_by(order)


def _value_type(topics: Topics, column: str) -> pa.DataType:
    """The Arrow type that values are counted as."""
    kind = column_type(topics, column)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(plain) or pa.types.is_large_string(plain):
        return pa.string()
    if pa.types.is_integer(plain) or pa.types.is_boolean(plain) or pa.types.is_date(plain):
        return plain
    raise UsageError(f"column {column!r} holds {kind}: a breakdown needs texts, integers, booleans or dates")


def _present(topics: Topics, index: TopicIndex, column: str) -> Iterator[tuple[pa.Array, NDArray[np.int64]]]:
    for values, found in stream_column(topics, index, column):
        present = values.is_valid()
        yield values.filter(present), found[present.to_numpy(zero_copy_only=False)]


def _sums(counts: pa.Table, key: str, name: str) -> pa.Table:
    """The sum of `count` for each `key`, as a column `name`."""
    summed = counts.group_by(key).aggregate([("count", "sum")])
    return summed.select([key, "count_sum"]).rename_columns([key, name])


def _ratio(count: pa.ChunkedArray, of: pa.ChunkedArray | pa.Scalar) -> pa.ChunkedArray:
    return pc.divide(count.cast(pa.float64()), of.cast(pa.float64()))
