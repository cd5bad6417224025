"""Conditions against Lance itself: a value is found by what a search shows of it, and no text breaks out of one."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.table.query.conditions import conjunction, other_than, where_equal
from pipeline.values import as_cell

NOT_COMPARED = ("binary", "list", "struct", "map", "null", "extension")
INSTANT = dt.datetime(2020, 9, 13, 12, 26, 40, 7, dt.UTC)
ZONED = ["2020-09-13T12:26:40.000007Z", "2020-09-13 08:26:40.000007-04:00", "2020-09-13T14:26:40.000007+0200",
         INSTANT, INSTANT.astimezone(dt.timezone(dt.timedelta(hours=9))), pa.scalar(INSTANT)]  # fmt: skip


@pytest.fixture(scope="module")
def every_type(load):
    return load("every_type.py")


def stored_columns(every_type):
    return {name: column for name, column in every_type.columns().items()
            if column.type not in every_type.UNSTORABLE and "run_end" not in name}  # fmt: skip


@pytest.fixture(scope="module")
def dataset(every_type, tmp_path_factory):
    columns = stored_columns(every_type)
    return lance.write_dataset(pa.table(columns), str(tmp_path_factory.mktemp("types") / "t.lance"))


def found(dataset, **where):
    return dataset.to_table(columns=[], filter=where_equal(dataset.schema, where), with_row_id=True)[
        "_rowid"
    ].to_pylist()


def test_a_value_of_every_type_is_found_or_refused(every_type, dataset):
    """As it is shown, and as the Arrow value that it is; each column holds two values and a null between."""
    compared = 0
    for name, column in stored_columns(every_type).items():
        for row in (0, 2):
            for value in (as_cell(column[row]), column[row]):
                if any(kind in name for kind in NOT_COMPARED) and "dictionary" not in name:
                    with pytest.raises(UsageError, match="which cannot be compared"):
                        found(dataset, **{name: value})
                elif as_cell(column[row]) == "null":  # not a number
                    with pytest.raises(UsageError, match=r"NaN equals nothing|no such value"):
                        found(dataset, **{name: value})
                else:
                    assert found(dataset, **{name: value}) == [row], (name, value)
                    compared += 1
    assert compared > 100


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "+02:00"])
@pytest.mark.parametrize("unit", ["us", "ns"])
@pytest.mark.parametrize("value", ZONED, ids=str)
def test_an_instant_is_found_in_every_zone_and_unit(every_type, dataset, zone, unit, value):
    column = f"timestamp[{unit}, tz={zone}]"
    count = 1_600_000_000 * {"us": 10**6, "ns": 10**9}[unit] + 7 * {"us": 1, "ns": 1000}[unit]
    kind = pa.timestamp(unit, zone)
    rows = lance.write_dataset(pa.table({column: pa.array([count, count + 1, None]).view(kind)}), "memory://")
    assert found(rows, **{column: value}) == [0]
    assert found(rows, **{column: [value, pa.scalar(count + 1, kind)]}) == [0, 1]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("timestamp[us, tz=UTC]", "2020-09-13T12:26:40", r"instants\): write 2020-09-13T12:26:40Z"),
        ("timestamp[us, tz=UTC]", dt.datetime(2020, 9, 13), "instants"),  # noqa: DTZ001  that it has no zone is the point
        ("timestamp[us]", "2020-09-13T12:26:40Z", "times without a zone"),
        ("timestamp[us]", INSTANT, "times without a zone"),
        ("timestamp[s]", "2020-09-13T12:26:40.5", "times without a zone"),
        ("timestamp[ns]", "9999-12-31", "times without a zone"),  # beyond 64 bits
        ("timestamp[us]", "2020-13-01", "write 2020-09-13T12:26:40"),
        ("date32[day]", "2020-09-13T12:00", "dates"),
        ("date32[day]", dt.datetime(2020, 9, 13, 12), "dates"),  # noqa: DTZ001
        ("time32[s]", "24:00", "times of day"),
        ("duration[s]", "7", "write 90s"),
        ("duration[s]", dt.timedelta(milliseconds=1), "durations"),
        ("uint64", "18446744073709551616", r"uint64 \(whole numbers\)"),
        ("uint64", -1, "whole numbers"),
        ("int64", 1.5, "whole numbers"),
        ("int8", 300, "whole numbers"),
        ("halffloat", "70000", "numbers"),
        ("double", float("nan"), "NaN equals nothing"),
        ("decimal128(10, 2)", "1.005", "decimal numbers"),
        ("bool", "perhaps", "true or false"),
        ("list<item: int32>", "1", "lists"),
        ("binary", b"ab", "bytes"),
        ("string", None, "IS NULL"),
        ("string", "\ud800", "texts"),
        ("no column", "1", "no such column"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_with_the_type_in_words(dataset, column, value, reason):
    with pytest.raises(UsageError, match=reason):
        found(dataset, **{column: value})


def test_zero_is_found_with_either_sign():
    rows = lance.write_dataset(pa.table({"x": [0.0, -0.0, 1.0]}), "memory://")
    assert found(rows, x="0") == found(rows, x=-0.0) == [0, 1]


def test_large_numbers_keep_their_digits():
    exact = [2**64 - 1, 2**53 + 1, 2**53]
    rows = lance.write_dataset(
        pa.table({"u": pa.array(exact, pa.uint64()), "d": pa.array(map(Decimal, exact), pa.decimal256(50, 10))}),
        "memory://",
    )
    for row, number in enumerate(exact):
        assert found(rows, u=number) == found(rows, u=str(number)) == found(rows, u=np.uint64(number)) == [row]
        assert found(rows, d=number) == found(rows, d=f"{number}.0") == [row]


def test_an_index_is_used(tmp_path):
    rows = lance.write_dataset(
        pa.table({"t": pa.array(range(9), pa.int64()).cast(pa.timestamp("ns")), "n": pa.array(range(9), pa.uint64())}),
        str(tmp_path / "t.lance"),
    )
    for column, value in (("t", "1970-01-01T00:00:00.000000005"), ("n", "5")):
        rows.create_scalar_index(column, "BTREE")
        where = where_equal(rows.schema, {column: value})
        assert "ScalarIndexQuery" in rows.scanner(filter=where).explain_plan()
        assert found(rows, **{column: value}) == [5]


ANY_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)


@pytest.fixture(scope="module")
def texts():
    return lance.write_dataset(pa.table({"id": ["a", "b"], 'it\'s "text"': ["a", "b"]}), "memory://")


@given(text=ANY_TEXT)
@example(text="' OR 'a' = 'a")
@example(text="'; DROP TABLE t; --")
@example(text="\\' OR 1=1 --")
@example(text="\0")
@settings(max_examples=150)
def test_no_text_breaks_out(texts, text):
    own = [row for row, value in enumerate("ab") if value == text]
    assert found(texts, **{'it\'s "text"': text}) == own
    assert texts.count_rows(other_than(texts.schema, text)) == 2 - len(own)


@given(text=ANY_TEXT)
@example(text="it's")
@settings(max_examples=100)
def test_any_text_is_found(text):
    rows = lance.write_dataset(pa.table({"c": [text, f"{text}x", None]}), "memory://")
    assert found(rows, c=text) == [0]
    assert found(rows, c=[text, f"{text}x"]) == [0, 1]


def test_conditions_are_joined_as_a_whole():
    assert conjunction(None, None) is None
    assert conjunction(None, "a OR b") == "a OR b"
    assert conjunction("a OR b", None, "c") == "(a OR b) AND (c)"
