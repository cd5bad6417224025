"""Arrow values as JSON and as text: nothing that Python or JSON cannot hold is lost, and texts lead back."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.table.query.literals import is_comparable, typed
from pipeline.values import as_cell, as_json


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (pa.scalar(253402214400, pa.timestamp("s")), "9999-12-31T00:00:00"),
        (pa.scalar(3_000_000, pa.date32()), "10183-09-21"),
        (pa.scalar(1_600_000_000_000_000_007, pa.timestamp("ns", "America/New_York")),
         "2020-09-13T08:26:40.000000007-04:00"),
        (pa.scalar(0, pa.timestamp("ms", "UTC")), "1970-01-01T00:00:00Z"),
        (pa.scalar(-(2**63) + 1, pa.timestamp("ns", "America/New_York")), "1677-09-21T00:12:43.145224193Z"),
        (pa.scalar(-(10**11), pa.timestamp("s", "America/New_York")), "-1199-02-15T14:13:20Z"),  # 4:56:02 behind
        (pa.scalar(0, pa.timestamp("s", "Europe/Atlantis")), "1970-01-01T00:00:00Z"),
        (pa.scalar(3_661_500, pa.time32("ms")), "01:01:01.5"),
        (pa.scalar(-90_500, pa.duration("ms")), "-90.5s"),
        (pa.scalar(Decimal("12.30"), pa.decimal128(10, 2)), "12.30"),
        (pa.scalar(Decimal(100), pa.decimal128(10, -2)), "100"),
        (pa.scalar(b"\xff'", pa.binary()), "/yc="),
        (pa.scalar(0.1, pa.float32()), 0.1),
        (pa.scalar(math.nan), None),
        (dt.timedelta(hours=1), "3600s"),
        (dt.datetime(2020, 1, 2, tzinfo=dt.UTC), "2020-01-02T00:00:00Z"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (np.int64(3), 3),
        (np.float32("inf"), None),
        (-math.inf, None),
        (True, True),
        (("a", {1: math.nan}), ["a", {"1": None}]),
        (KeyError("x"), "'x'"),
    ],
)  # fmt: skip
def test_values_as_json(value, shown):
    assert as_json(value) == shown
    assert type(as_json(value)) is type(shown)


def test_every_type_is_json(load):
    columns = load("every_type.py").columns()
    for name, column in columns.items():
        shown = as_json(column)
        assert len(shown) == 3, name
        assert shown[1] is None, name
        assert json.loads(json.dumps(shown, allow_nan=False)) == shown, name
        assert as_json(pa.chunked_array([column.slice(1), column.slice(0, 1)])) == [*shown[1:], shown[0]], name


def test_nested_values():
    rows = [{"at": dt.datetime(1, 1, 1), "of": [[Decimal("0.10")], None]}, None]  # noqa: DTZ001
    kind = pa.struct([("at", pa.timestamp("ns")), ("of", pa.list_(pa.list_(pa.decimal128(9, 2))))])
    late = pa.array([rows[0] | {"at": 2**62}, None], kind)
    assert as_json(late) == [{"at": "2116-02-20T23:53:38.427387904", "of": [["0.10"], None]}, None]
    assert as_json(pa.array([[("k", math.nan)]], pa.map_(pa.string(), pa.float64()))) == [[["k", None]]]


def test_a_table_is_a_list_of_rows():
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    assert as_json({"hits": table}) == {"hits": [{"a": 1, "b": "x"}, {"a": 2, "b": None}]}
    assert as_json(table.slice(2)) == []


def test_cells_have_no_quotation_marks_of_their_own():
    assert [as_cell(value) for value in ("a", 1.5, None, True, [1, "b"])] == ["a", "1.5", "null", "true", '[1, "b"]']


COUNTS = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Kolkata")]
COUNTS += [pa.duration(unit) for unit in ("s", "ms", "us", "ns")] + [pa.date32(), pa.time64("ns")]


@given(kind=st.sampled_from(COUNTS), count=st.integers(-(2**63) + 1, 2**63 - 1))
def test_times_are_read_as_they_are_shown(kind, count):
    if pa.types.is_date32(kind):
        count >>= 32
    elif pa.types.is_time(kind):
        count %= 86_400 * 10**9
    elif pa.types.is_timestamp(kind) and kind.unit in {"s", "ms"}:
        count >>= 16  # to years of twelve digits at most
    value = pa.scalar(count, kind)
    assert is_comparable(kind)
    assert typed(as_cell(value), kind).equals(value)


@given(value=st.floats(width=32, allow_nan=False))
def test_floats_are_read_as_they_are_shown(value):
    scalar = pa.scalar(value, pa.float32())
    if math.isfinite(value):
        assert typed(as_cell(scalar), pa.float32()).equals(scalar)
    assert typed(str(value), pa.float32()).equals(scalar)


@given(value=st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**40), max_value=10**40))
def test_decimals_are_read_as_they_are_shown(value):
    scalar = pa.scalar(value, pa.decimal256(76, 9))
    assert typed(as_cell(scalar), pa.decimal256(76, 9)).equals(scalar)
