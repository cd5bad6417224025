"""Topics over time: how many documents of each interval belong to each topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError, UsageError
from pipeline.topics.schema import OUTLIER
from pipeline.topics.versions.join import TopicIndex, column_type, stream_column
from pipeline.topics.views.counting import count_pairs
from pipeline.topics.views.intervals import MAX_NUMBER, MIN_BINS, number_intervals, time_intervals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["DEFAULT_BINS", "microseconds", "topics_over"]

DEFAULT_BINS: Final = 20
MAX_BINS: Final = 1_000
TIME_TYPE: Final = pa.timestamp("us", "UTC")


def topics_over(topics: Topics, column: str, bins: int = DEFAULT_BINS, *, mad: float | None = None) -> pa.Table:
    """Counts and shares of topics over a column of timestamps, dates, ISO 8601 texts or whole numbers (years).

    Intervals are the finest unit of the calendar, or the finest round width of numbers, that gives up to `bins`
    intervals. Every interval from the first to the last has a row for every topic of the model, by size, and for the
    outliers (-1). Documents without a time are left out; times without a zone count as UTC. `mad` as in
    `Topics.assignments`.

    Returns:
        `start` (timestamp[us, UTC] or int64) of the interval, `topic` int64, `count` int64 documents of the topic in
        the interval, `documents` int64 in the interval, `share` float64 (0 for an interval without documents).

    Raises:
        UsageError: no such column, a column of another type, or a number of bins out of range.
        TopicError: no document of the model has a time in that column.
    """
    if not MIN_BINS <= bins <= MAX_BINS:
        raise UsageError(f"bins={bins}: use {MIN_BINS} to {MAX_BINS:,}")
    is_number = _is_number(topics, column)
    index = TopicIndex.of(topics, mad)
    ends = [(values.min(), values.max()) for values, _ in _values(topics, index, column)]
    if not ends:
        raise TopicError(f"no document of {topics.tables.location} has a time in {column!r}: ISO 8601 is understood")
    first, last = int(min(low for low, _ in ends)), int(max(high for _, high in ends))
    if is_number and max(-first, last) > MAX_NUMBER:
        raise UsageError(f"column {column!r} holds numbers up to {max(-first, last)}: these are no years")
    cut = (number_intervals if is_number else time_intervals)(first, last, bins)
    numbered = ((pa.array(cut.number(values)), found) for values, found in _values(topics, index, column))
    low, high = cut.number(np.array([first, last], dtype=np.int64)).tolist()
    numbers = np.arange(low, high + 1, dtype=np.int64)
    ids = np.append(topics.topics().column("topic").to_numpy(), OUTLIER)
    counts = _dense(count_pairs(numbered, pa.int64()), numbers, ids)
    return _rows(pa.array(cut.start(numbers)).cast(pa.int64() if is_number else TIME_TYPE), ids, counts)


def _is_number(topics: Topics, column: str) -> bool:
    kind = column_type(topics, column)
    if pa.types.is_integer(kind):
        return True
    if pa.types.is_temporal(kind) and not (pa.types.is_time(kind) or pa.types.is_duration(kind)):
        return False
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return False
    raise UsageError(f"column {column!r} holds {kind}: topics over time need timestamps, dates, ISO texts or integers")


def _values(topics: Topics, index: TopicIndex, column: str) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Numbers, or microseconds since 1970, and topics of the documents that have both, both int64 [> 0]."""
    for values, found in stream_column(topics, index, column):
        numbers = values if pa.types.is_integer(values.type) else microseconds(values)
        present = numbers.is_valid().to_numpy(zero_copy_only=False)
        if present.any():
            yield numbers.drop_null().cast(pa.int64()).to_numpy(), found[present]


def microseconds(values: pa.Array) -> pa.Array:
    """Microseconds since 1970, int64; null where a value is no time."""
    if pa.types.is_temporal(values.type):
        return values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    import pandas as pd

    parsed = pd.to_datetime(
        pd.Series(values.to_numpy(zero_copy_only=False)), errors="coerce", format="ISO8601", utc=True
    )
    return pa.Array.from_pandas(parsed).cast(TIME_TYPE, safe=False).cast(pa.int64())


def _dense(counts: pa.Table, numbers: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counts as a matrix int64 [intervals, topics] for intervals `numbers` and topics `ids`."""
    dense = np.zeros((len(numbers), len(ids)), dtype=np.int64)
    order = np.argsort(ids)
    column = order[np.searchsorted(ids[order], counts.column("topic").to_numpy())]
    dense[counts.column("value").to_numpy() - numbers[0], column] = counts.column("count").to_numpy()
    return dense


def _rows(starts: pa.Array, ids: NDArray[np.int64], counts: NDArray[np.int64]) -> pa.Table:
    documents = np.repeat(counts.sum(axis=1), len(ids))
    return pa.table(
        {
            "start": starts.take(pa.array(np.repeat(np.arange(len(starts)), len(ids)))),
            "topic": np.tile(ids, len(starts)),
            "count": counts.ravel(),
            "documents": documents,
            "share": pc.divide(pa.array(counts.ravel()).cast(pa.float64()), pa.array(np.maximum(documents, 1))),
        }
    )
