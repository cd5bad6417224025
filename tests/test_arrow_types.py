"""Casts that change no value, and types that hold the values of two: for every type that a table can hold."""

# ruff: noqa: DTZ001 - timestamps without a zone are what is tested

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import product

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.arrow_types import plain_type, safe_cast, widened
from pipeline.corpus.formats.columns import fit

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float32(), pa.float64()]
DECIMALS = [pa.decimal128(5, 2), pa.decimal128(38, 10), pa.decimal256(60, 0)]
STAMPS = [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Berlin")]
DATES = [pa.date32(), pa.date64()]
TIMES = [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
DURATIONS = [pa.duration("s"), pa.duration("us"), pa.duration("ns")]
TEXTS = [pa.string(), pa.large_string(), pa.binary()]
FLAT = INTEGERS + FLOATS + DECIMALS + STAMPS + DATES + TIMES + DURATIONS + [pa.bool_(), *TEXTS]
NESTED = [
    pa.list_(pa.int64()),
    pa.list_(pa.string()),
    pa.struct([("a", pa.int64())]),
    pa.struct([("a", pa.float64()), ("b", pa.string())]),
    pa.list_(pa.struct([("a", pa.int64())])),
]

whole = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 2**24 + 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63)])
instants = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)) | st.sampled_from(
    [datetime(9999, 12, 31), datetime(2262, 4, 12), datetime(1600, 1, 1), datetime(2024, 2, 29)]
)
days = instants.map(datetime.date)
numbers = st.one_of(whole, st.floats(allow_nan=False), st.decimals(allow_nan=False, allow_infinity=False, places=3))
values = st.one_of(
    numbers,
    st.sampled_from([1e300, -1e300, 1e39, 0.1, math.inf]),
    st.booleans(),
    instants,
    days,
    st.times(),
    st.timedeltas(timedelta(days=-200_000), timedelta(days=200_000)),
    st.sampled_from(["2024-02-29", "9999-12-31 00:00:00", "7", "0.5", "1e400", "true", "a"]),
    st.lists(st.integers(-5, 2**40), max_size=2),
    st.fixed_dictionaries({"a": st.integers(0, 9)}, optional={"b": st.text(max_size=2)}),
)


def array(value, to):
    """The value as a `to`, or None where it is none."""
    try:
        made = pa.array([value], to)
        made.validate(full=True)
        back = made[0].as_py()
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None
    return made if same(value, back, to) else None


def midnight(day):
    return day if isinstance(day, datetime) else datetime(day.year, day.month, day.day)


def same(value, back, to):
    """Whether `back` is what `value` says, in a column of type `to`."""
    if isinstance(value, date) and isinstance(back, date):
        value, back = (midnight(each) for each in (value, back))
        return value.replace(tzinfo=value.tzinfo or UTC) == back.replace(tzinfo=back.tzinfo or UTC)
    if isinstance(value, dict) and isinstance(back, dict):
        return all(value.get(key) == back.get(key) for key in (*value, *back))
    if isinstance(back, float) and pa.types.is_float32(to):
        return math.isinf(back) == math.isinf(value) and math.isclose(value, back, rel_tol=1e-6, abs_tol=1e-37)
    if isinstance(value, float | Decimal) and isinstance(back, float | Decimal):
        value, back = float(value), float(back)
    return value == back and isinstance(value, bool) == isinstance(back, bool)


def plain(kind):
    """The type of a list's values: numbers become texts there, too."""
    return kind.value_type if pa.types.is_list(kind) else kind


@given(values, st.sampled_from(FLAT + NESTED))
@example(value=[0], to=pa.list_(pa.string()))
def test_a_value_keeps_its_meaning_or_does_not_fit(value, to):
    for given_type in FLAT + NESTED:
        column = array(value, given_type)
        if column is None:
            continue
        fitted, misfits = fit(column, to)
        if misfits:
            assert fitted.to_pylist() == [None]
        elif not {plain(given_type), plain(to)} & {*TEXTS}:
            assert same(column[0].as_py(), fitted[0].as_py(), to), (given_type, to)


@pytest.mark.parametrize(
    ("value", "given_type", "to"),
    [
        (datetime(9999, 12, 31), pa.timestamp("us"), pa.timestamp("ns")),
        (datetime(2024, 1, 1, 12), pa.timestamp("us"), pa.date32()),
        (2**53 + 1, pa.int64(), pa.float64()),
        (2**11 + 1, pa.int64(), pa.float16()),
        (1e300, pa.float64(), pa.float32()),
        ("1e400", pa.string(), pa.float64()),
        (2, pa.int64(), pa.bool_()),
        (5, pa.int64(), pa.timestamp("us")),
        (datetime(2024, 1, 1), pa.timestamp("us"), pa.int64()),
        (1.123, pa.float64(), pa.decimal128(5, 2)),
        (Decimal("12345678901234567890.123"), pa.decimal128(30, 3), pa.float64()),
        ({"a": 1, "b": 2}, None, pa.struct([("a", pa.int64())])),
        ([{"a": 1, "b": 2}], None, pa.list_(pa.struct([("a", pa.int64())]))),
        ([1.5], None, pa.list_(pa.int64())),
    ],
)
def test_what_would_become_another_value_does_not_fit(value, given_type, to):
    fitted, misfits = fit(pa.array([None, value], given_type), to)
    assert fitted.to_pylist() == [None, None]
    assert [index for index, _ in misfits] == [1]


def test_not_a_number_is_missing_where_floats_are_not_kept():
    for to in (pa.int64(), pa.string(), pa.decimal128(5, 2), pa.bool_()):
        fitted, misfits = fit(pa.array([math.nan, None]), to)
        assert (fitted.to_pylist(), misfits) == ([None, None], [])
    assert math.isnan(fit(pa.array([math.nan]), pa.float32())[0][0].as_py())


def test_safe_cast_leaves_sound_values_alone():
    assert safe_cast(pa.array([1.5, math.inf]), pa.float32()).to_pylist() == [1.5, math.inf]
    assert safe_cast(pa.array(["inf", "2"]), pa.float64()).to_pylist() == [math.inf, 2.0]
    assert safe_cast(pa.array([{"a": 1}]), NESTED[3]).to_pylist() == [{"a": 1.0, "b": None}]


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (pa.int32(), pa.int64(), pa.int64()),
        (pa.int64(), pa.float32(), pa.float64()),
        (pa.uint64(), pa.int8(), pa.string()),
        (pa.uint32(), pa.int32(), pa.int64()),
        (pa.float32(), pa.decimal128(5, 2), pa.float64()),
        (pa.int64(), pa.string(), pa.string()),
        (pa.int64(), pa.bool_(), pa.string()),
        (pa.null(), pa.date32(), pa.date32()),
        (pa.timestamp("s"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("ms", "UTC"), pa.timestamp("us", "Europe/Berlin"), pa.timestamp("us", "UTC")),
        (pa.timestamp("ms"), pa.timestamp("s", "UTC"), pa.timestamp("ms", "UTC")),
        (pa.date32(), pa.timestamp("ms"), pa.timestamp("ms")),
        (pa.date32(), pa.date64(), pa.date64()),
        (pa.time32("s"), pa.time64("us"), pa.time64("us")),
        (pa.list_(pa.null()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (NESTED[2], NESTED[3], NESTED[3]),
        (NESTED[0], NESTED[1], NESTED[1]),
        (NESTED[0], pa.list_(pa.uint64()), NESTED[1]),
        (NESTED[0], pa.large_list(pa.float32()), pa.large_list(pa.float64())),
        (pa.list_(pa.int32(), 2), pa.list_(pa.int64(), 2), pa.list_(pa.int64(), 2)),
        (pa.list_(pa.int32(), 2), pa.list_(pa.int64(), 3), NESTED[0]),
        (NESTED[2], pa.struct([("a", pa.string())]), pa.struct([("a", pa.string())])),
        (pa.int64(), pa.decimal128(5, 2), pa.decimal128(22, 2)),
        (pa.int16(), pa.decimal128(5, 1), pa.decimal128(6, 1)),
        (NESTED[0], pa.int64(), pa.string()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.binary(), pa.string(), pa.string()),
    ],
)
def test_the_type_that_holds_both(one, other, both):
    assert widened(one, other) == widened(other, one) == both


def test_widening_knows_every_pair_and_no_order():
    for one, other in product(FLAT + NESTED, repeat=2):
        both = widened(one, other)
        assert both == widened(other, one)
        assert widened(both, one) == widened(both, other) == both == plain_type(both)


@given(values, st.sampled_from(FLAT), st.sampled_from(FLAT))
def test_a_wider_type_loses_nothing_but_what_no_type_would_keep(value, one, other):
    column = array(value, one)
    both = widened(one, other)
    if column is None:
        return
    _, misfits = fit(column, both)
    too_exact = pa.types.is_floating(both) and not pa.types.is_floating(one)
    too_far = pa.types.is_timestamp(both) and both.unit == "ns"
    assert not misfits or too_exact or too_far
