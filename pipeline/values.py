"""Arrow values on their way out: as JSON can hold them, and as people read them.

Python has no date beyond the year 9999, no nanoseconds, and JSON neither instants nor NaN. So dates, times, instants,
durations and decimals become text without a detour through Python: ISO 8601, durations in seconds (``90.5s``), decimals
as they are written. Bytes become base64, NaN and infinities null. Texts of this form are what ``where`` reads.
"""

from __future__ import annotations

import datetime as dt
import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["UNITS", "as_cell", "as_json"]

UNITS: Final = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Arrow's units of time, as parts of a second."""


def as_json(value: Any) -> Any:
    """`value` as JSON can hold it, at any depth: a table becomes a list of rows, a column a list of values."""
    if isinstance(value, pa.Table):
        columns = [_column(column) for column in value.columns]
        return [dict(zip(value.column_names, row, strict=True)) for row in zip(*columns, strict=True)]
    column = _as_column(value)
    if column is not None:
        return _column(column) if column is value else _column(column)[0]
    if isinstance(value, Mapping):
        return {str(name): as_json(one) for name, one in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in cast("list[Any]", value)]
    return _plain(value)


def _as_column(value: Any) -> pa.Array | pa.ChunkedArray | None:
    """A column as it is, one value as a column; None for what Arrow has nothing to do with."""
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return value
    if isinstance(value, pa.ExtensionScalar):
        return _as_column(value.value)
    if isinstance(value, pa.Scalar):
        return pa.array([value], value.type)
    is_one = isinstance(value, float | np.generic | dt.date | dt.time | dt.timedelta)
    return pa.array([value]) if is_one else None


def as_cell(value: Any) -> str:
    """`value` for a line that people read: what `as_json` gives, texts without quotation marks."""
    plain = as_json(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _column(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in _column(chunk)]
    if isinstance(column, pa.ExtensionArray):
        return _column(column.storage)
    if isinstance(column, pa.DictionaryArray):
        return _column(column.dictionary_decode())
    if isinstance(column, pa.RunEndEncodedArray):
        return _column(pc.run_end_decode(column))
    kind: pa.DataType = column.type
    return _masked(column, _nested(column, kind)) if pa.types.is_nested(kind) else _flat(column, kind)


def _nested(column: pa.Array, kind: pa.DataType) -> list[Any]:
    """Structs as objects, maps as lists of pairs, lists as lists; anything where it is null."""
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        rows = zip(*map(_column, column.flatten()), strict=True) if names else iter([()] * len(column))
        return [dict(zip(names, row, strict=True)) for row in rows]
    values = [_column(items.values) if items.is_valid else [] for items in column]
    return [[list(pair.values()) for pair in pairs] for pairs in values] if pa.types.is_map(kind) else values


def _flat(column: pa.Array, kind: pa.DataType) -> list[Any]:
    if pa.types.is_floating(kind):
        # As text: 0.1 in 32 bits is not to become 0.10000000149.
        wide = column if pa.types.is_float64(kind) else column.cast(pa.string()).cast(pa.float64())
        return pc.if_else(pc.is_finite(wide), wide, None).to_pylist()
    if pa.types.is_decimal(kind):
        return [None if value is None else f"{value:f}" for value in column.to_pylist()]
    if pa.types.is_date(kind) or pa.types.is_time(kind) or pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return _masked(column, _times(column, kind))
    return [_plain(value) for value in column.to_pylist()]


def _masked(column: pa.Array, values: list[Any]) -> list[Any]:
    """`values`, null where `column` is."""
    valid = column.is_valid().to_pylist()
    return [value if there else None for value, there in zip(values, valid, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return value if value is None or isinstance(value, str | int) else str(value)


def _times(column: pa.Array, kind: pa.DataType) -> list[str]:
    """The texts of a column of dates, times, instants or durations; anything where it is null."""
    if pa.types.is_date(kind):
        days = _counts(column) if pa.types.is_date32(kind) else _counts(column) // (86400 * UNITS["ms"])
        return np.datetime_as_string(days.astype("datetime64[D]")).tolist()
    if pa.types.is_duration(kind):
        return [_seconds(count, UNITS[kind.unit]) for count in _counts(column).tolist()]
    if pa.types.is_time(kind):
        return [text.partition("T")[2] for text in _iso(_counts(column), kind.unit)]
    return _iso(_counts(column), kind.unit) if kind.tz is None else _instants(column, kind)


def _instants(column: pa.Array, kind: pa.TimestampType) -> list[str]:
    """In the column's own zone, with the offset; in UTC where that is no whole minutes or does not fit 64 bits."""
    utc = _counts(column)
    try:
        local = _counts(pc.local_timestamp(column))
    except pa.ArrowInvalid:  # a zone that this machine does not know
        local = utc
    ahead = local - utc
    minutes, rest = np.divmod(ahead, 60 * UNITS[kind.unit])
    in_zone = (rest == 0) & ((ahead >= 0) == (local >= utc))
    offsets = np.where(in_zone, minutes, 0).tolist()
    texts = _iso(np.where(in_zone, local, utc), kind.unit)
    return [text + _offset(minutes) for text, minutes in zip(texts, offsets, strict=True)]


def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02}:{rest:02}" if minutes else "Z"


def _iso(counts: np.ndarray, unit: str) -> list[str]:
    texts: list[str] = np.datetime_as_string(counts.astype(f"datetime64[{unit}]")).tolist()
    return [_trimmed(text) for text in texts]


def _seconds(count: int, unit: int) -> str:
    whole, rest = divmod(abs(count), unit)
    return _trimmed(f"{'-' if count < 0 else ''}{whole}.{rest * UNITS['ns'] // unit:09}") + "s"


def _trimmed(text: str) -> str:
    """Without the zeros that end a fraction."""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _counts(column: pa.Array) -> np.ndarray:
    """Units since the epoch or midnight, int64 [n]; 0 where it is null."""
    whole = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return pc.fill_null(whole, 0).to_numpy().astype(np.int64)
