"""A column of every Arrow type that there is, three values each, the second one null."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa

UNITS = ("s", "ms", "us", "ns")
ZONES = (None, "UTC", "America/New_York", "+02:00")

UNMADE = {"SPARSE_UNION", "DENSE_UNION", "INTERVAL_MONTHS", "INTERVAL_DAY_TIME", "LARGE_LIST_VIEW", "MAX_ID"}
"""Types of which pyarrow makes no arrays of Python values, or that are a matter of another one's width."""

UNSTORABLE = (pa.decimal32(7, 2), pa.decimal64(15, 2), pa.month_day_nano_interval(), pa.list_view(pa.int32()))
"""Types that Lance does not hold."""


def _counts(kind):
    """A column of `kind`, whose values are counts of units."""
    second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
    if pa.types.is_date32(kind):
        numbers = [3_000_000, None, -800_000]  # the years 10183 and -221
    elif pa.types.is_date64(kind):
        numbers = [86_400_000 * 3_000_000, None, -86_400_000]
    elif pa.types.is_timestamp(kind):
        numbers = [1_600_000_000 * second[kind.unit] + (kind.unit != "s") * 7, None, -5]
    elif pa.types.is_duration(kind):
        numbers = [90 * second[kind.unit] + 1, None, -(2**62)]
    else:
        numbers = [3_661 * second[kind.unit], None, 1]
    return pa.array(numbers, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


def _integers(kind):
    info = np.iinfo(kind.to_pandas_dtype())
    return pa.array([int(info.max), None, int(info.min)], kind)


def _decimals(kind):
    return pa.array([Decimal(1234).scaleb(-kind.scale), None, Decimal(-500)], kind)


def columns():
    """Name of a type, without the dots that no column of a table may have in its own → a column of it."""
    integers = [getattr(pa, f"{sign}int{bits}")() for bits in (8, 16, 32, 64) for sign in ("", "u")]
    floats = [pa.float16(), pa.float32(), pa.float64()]
    decimals = [pa.decimal32(7, 2), pa.decimal64(15, 2), pa.decimal128(10, 2), pa.decimal128(38, 0),
                pa.decimal256(76, 20)]  # fmt: skip
    counted = [pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
    counted += [pa.timestamp(unit, zone) for unit in UNITS for zone in ZONES]
    counted += [pa.duration(unit) for unit in UNITS]
    texts = [pa.string(), pa.large_string(), pa.string_view()]
    blobs = [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)]
    made = [pa.array([True, None, False]), pa.nulls(3)]
    made += [_integers(kind) for kind in integers]
    made += [pa.array([1.1, None, math.nan], kind) for kind in floats]
    made += [_decimals(kind) for kind in decimals]
    made += [_counts(kind) for kind in counted]
    made += [pa.array(["it's", None, 'a "b"\n\\'], kind) for kind in texts]
    made += [pa.array([b"\xff'", None, b"ab"], kind) for kind in blobs]
    made += [pa.array(["it's", None, "b"]).dictionary_encode(), pa.array([5, None, 6]).dictionary_encode()]
    made += [
        pa.array([pa.MonthDayNano([1, 2, 3]), None, pa.MonthDayNano([0, 0, 1])]),
        pa.array([[1, None], None, []], pa.list_(pa.int32())),
        pa.array([[Decimal("1.50")], None, []], pa.list_(pa.decimal128(10, 2))),
        pa.array([["x"], None, []], pa.large_list(pa.string())),
        pa.array([[1.5, 2], None, [3, math.nan]], pa.list_(pa.float32(), 2)),
        pa.array([[1], None, []], pa.list_view(pa.int32())),
        pa.array([{"a": 1, "b": Decimal("0.10")}, None, {"a": None, "b": None}],
                 pa.struct([("a", pa.int32()), ("b", pa.decimal128(20, 2))])),
        pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2, 3], pa.int32()), pa.array(["a", None, "b"])),
        pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0123456789abcdef", None, b"x" * 16], pa.binary(16))),
    ]  # fmt: skip
    return {str(column.type).replace(".", " "): column for column in made}


def misplaced(table, offset):
    """The same table in memory that begins `offset` bytes after a multiple of 64, as no allocator gives it."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = np.frombuffer(sink.getvalue(), np.uint8)
    memory = np.empty(len(data) + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset
    memory[start : start + len(data)] = data
    return pa.ipc.open_stream(pa.py_buffer(memory[start : start + len(data)])).read_all()


def addresses(column):
    """Where the buffers of a column begin, those of dictionaries and storages included."""
    if isinstance(column, pa.ChunkedArray):
        return [address for chunk in column.chunks for address in addresses(chunk)]
    if isinstance(column, pa.ExtensionArray):
        return addresses(column.storage)
    if isinstance(column, pa.DictionaryArray):
        return addresses(column.indices) + addresses(column.dictionary)
    return [buffer.address for buffer in column.buffers() if buffer is not None and buffer.size]
