"""Topics over time: how many of the documents of each interval belong to which topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError, UsageError
from pipeline.topics.views.counting import count_pairs
from pipeline.topics.views.intervals import FEWEST_BINS, LARGEST, number_intervals, time_intervals
from pipeline.topics.views.join import TopicIndex, column_type, stream_column

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["BINS", "topics_over"]

BINS: Final = 20
MOST_BINS: Final = 1_000
TIME: Final = pa.timestamp("us", "UTC")


def topics_over(topics: Topics, column: str, bins: int = BINS, *, mad: float | None = None) -> pa.Table:
    """Counts and shares of topics over a column of timestamps, dates, ISO 8601 texts or whole numbers (years).

    Times are cut at the finest unit of the calendar, numbers at the finest round number, that needs no more than
    `bins` intervals. Every interval from the first to the last has a row for every topic of the model, by size, and
    for the outliers (-1). Documents without a time are left out; times without a zone are taken for UTC.
    `mad` as in `Topics.assignments`.

    Returns:
        `start` (timestamp[us, UTC] or int64) of the interval, `topic` int64, `count` int64 documents of the topic in
        it, `documents` int64 in it at all, `share` float64 (0 where there are none).

    Raises:
        UsageError: no such column, one of another type, or no such number of bins.
        TopicError: no document of the model has a time in it.
    """
    if not FEWEST_BINS <= bins <= MOST_BINS:
        raise UsageError(f"bins={bins}: use {FEWEST_BINS} to {MOST_BINS:,}")
    is_number = _is_number(topics, column)
    index = TopicIndex.of(topics, mad)
    ends = [(values.min(), values.max()) for values, _ in _values(topics, index, column)]
    if not ends:
        raise TopicError(f"no document of {topics.tables.location} has a time in {column!r}: ISO 8601 is understood")
    first, last = int(min(low for low, _ in ends)), int(max(high for _, high in ends))
    if is_number and max(-first, last) > LARGEST:
        raise UsageError(f"column {column!r} holds numbers up to {max(-first, last)}: these are no years")
    cut = (number_intervals if is_number else time_intervals)(first, last, bins)
    numbered = ((pa.array(cut.number(values)), found) for values, found in _values(topics, index, column))
    low, high = cut.number(np.array([first, last], dtype=np.int64)).tolist()
    numbers = np.arange(low, high + 1, dtype=np.int64)
    ids = np.append(topics.topics().column("topic").to_numpy(), -1)
    counts = _dense(count_pairs(numbered, pa.int64()), numbers, ids)
    return _rows(pa.array(cut.start(numbers)).cast(pa.int64() if is_number else TIME), ids, counts)


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
        numbers = values if pa.types.is_integer(values.type) else _microseconds(values)
        present = numbers.is_valid().to_numpy(zero_copy_only=False)
        if present.any():
            yield numbers.drop_null().cast(pa.int64()).to_numpy(), found[present]


def _microseconds(values: pa.Array) -> pa.Array:
    """int64, null where a value is no time."""
    if pa.types.is_temporal(values.type):
        return values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
    import pandas as pd

    parsed = pd.to_datetime(
        pd.Series(values.to_numpy(zero_copy_only=False)), errors="coerce", format="ISO8601", utc=True
    )
    return pa.Array.from_pandas(parsed).cast(TIME, safe=False).cast(pa.int64())


def _dense(counts: pa.Table, numbers: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [intervals, topics]."""
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
