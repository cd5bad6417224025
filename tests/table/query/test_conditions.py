"""Conditions against Lance itself: a value is found by what a search shows of it, and no text breaks out of one."""

from __future__ import annotations

import datetime as dt
import operator
from decimal import Decimal

import lance
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.table.query.conditions import condition_sql, conjunction, named
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
    return dataset.to_table(columns=[], filter=condition_sql(dataset.schema, where), with_row_id=True)[
        "_rowid"
    ].to_pylist()


def test_a_value_of_every_type_is_found_or_refused(every_type, dataset):
    """As it is shown, and as the Arrow value that it is; each column holds two values and a null between."""
    compared = 0
    for name, column in stored_columns(every_type).items():
        for row in (0, 2):
            for value in (as_cell(column[row]), column[row]):
                if value is column[row] and not value.is_valid:
                    assert found(dataset, **{name: value}) == [0, 1, 2]
                elif name == "large_list<item: string>" and isinstance(value, str):
                    assert found(dataset, **{name: value}) == []  # no value in a list is the whole list
                elif any(kind in name for kind in NOT_COMPARED) and "dictionary" not in name:
                    with pytest.raises(UsageError, match=r"which cannot be compared|lists of .*: no such value"):
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
        ("list<item: int32>", "[1]", "lists of int32"),
        ("binary", b"ab", "bytes"),
        ("string", ["a", None], "ask for it alone, as null"),
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
        where = condition_sql(rows.schema, {column: value})
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
    assert texts.count_rows(named(texts.schema, text)) == len(own)


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


ROWS = {
    "n": [None, -3, 0, 1, 2, 2, 5, None, 7, 0, 3, 4],
    "x": [0.0, -0.0, float("nan"), None, 1.5, float("inf"), float("-inf"), 2.0, float("nan"), -1.5, 1.5, None],
    "s": ["a", "ab", "", None, "b%", "b_", "B", "it's", "abc", None, "x' OR 'a'='a", "ba"],
    "t": [["a"], ["a", "b"], [], None, ["c", None], [None], ["b", "b"], None, ["a", "c"], ["b"], ["x"], []],
}
KINDS = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("s", pa.string()), ("t", pa.list_(pa.string()))])


@pytest.fixture(scope="module", params=[None, "BTREE", "BITMAP"])
def mixed(request, tmp_path_factory):
    made = lance.write_dataset(pa.table(ROWS, schema=KINDS), str(tmp_path_factory.mktemp("mixed") / "t.lance"))
    if request.param:
        for column in ("n", "x", "s"):
            made.create_scalar_index(column, request.param)
        made.create_scalar_index("t", "LABEL_LIST")
    return made


ORDERED = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


def holds(row, where):
    """The meaning of a condition, in Python: two values, where a comparison with what is missing or NaN is false."""
    if isinstance(where, list):
        return all(holds(row, part) for part in where)
    return all(entry_holds(row, name, given) for name, given in where.items())


def entry_holds(row, name, given):
    if name == "not":
        return not holds(row, given)
    if name in {"and", "or"}:
        return {"and": all, "or": any}[name](holds(row, part) for part in given)
    if isinstance(given, dict):
        return all(compares(row[name], how, value) for how, value in given.items())
    return compares(row[name], "in" if isinstance(given, list) else "eq", given)


def compares(own, how, value):
    negative = {"ne": "eq", "not_in": "in"}.get(how)
    if negative:
        return not compares(own, negative, value)
    if value is None:
        return own is None
    if own is None:
        return False
    if how in ORDERED:
        return ORDERED[how](own, value)
    if how in {"starts_with", "contains"}:
        return own.startswith(value) if how == "starts_with" else value in own
    values = value if isinstance(value, list) else [value]
    mine = own if isinstance(own, list) else [own]
    return (all if how == "has_all" else any)(one in mine for one in values)


def comparisons(value, *, more=()):
    several = st.lists(value, min_size=1, max_size=3)
    simple = st.one_of(
        value,
        several,
        st.none(),
        *(st.fixed_dictionaries({how: value}) for how in ("eq", "ne", *more)),
        *(st.fixed_dictionaries({how: several}) for how in ("in", "not_in")),
        st.sampled_from([{"eq": None}, {"ne": None}]),
    )
    return simple | st.fixed_dictionaries({"ne": value, "in": several})


NUMBERS, REALS = st.integers(-4, 8), st.sampled_from([0.0, -0.0, 1.5, -1.5, 2, float("inf"), float("-inf")])
LETTERS = st.sampled_from(["a", "b", "ab", "%", "_", "b%", "b_", "'", "it's", "x' OR 'a'='a", "", "A"])
LISTS = {"has": LETTERS, "has_any": st.lists(LETTERS, min_size=1, max_size=3), "has_all": st.lists(LETTERS, min_size=1)}
ATOMS = st.one_of(
    st.fixed_dictionaries({"n": comparisons(NUMBERS, more=ORDERED)}),
    st.fixed_dictionaries({"x": comparisons(REALS, more=ORDERED)}),
    st.fixed_dictionaries({"s": comparisons(LETTERS, more=("gt", "lte", "starts_with", "contains"))}),
    st.fixed_dictionaries({"t": comparisons(LETTERS)}),
    *(st.fixed_dictionaries({"t": st.fixed_dictionaries({how: value})}) for how, value in LISTS.items()),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda parts: st.one_of(
        st.fixed_dictionaries({"not": parts}),
        st.fixed_dictionaries({"and": st.lists(parts, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"or": st.lists(parts, min_size=1, max_size=3)}),
        st.lists(parts, min_size=1, max_size=2).map(lambda some: {"not": some}),
    ),
    max_leaves=6,
)


@given(where=CONDITIONS)
@example(where={"not": {"x": {"gt": 0}}})
@example(where={"s": {"starts_with": "b%"}})
@example(where={"t": {"ne": "a"}})
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_condition_finds_the_rows_of_which_it_holds(mixed, where):
    rows = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
    wanted = [number for number, row in enumerate(rows) if holds(row, where)]
    sql = condition_sql(mixed.schema, where)
    assert sorted(mixed.to_table(columns=[], filter=sql, with_row_id=True)["_rowid"].to_pylist()) == wanted, sql


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ({"n": {"near": 3}}, "no comparison 'near'; there are eq, ne, in"),
        ({"n": {}}, "no comparison; there are"),
        ({"n": {"gt": [1]}}, "one value to compare with"),
        ({"n": {"gt": None}}, "missing value"),
        ({"n": {"has": 3}}, "which are no lists"),
        ({"n": {"contains": "3"}}, "of which contains says nothing"),
        ({"t": {"gt": "a"}}, "of which eq, ne, in, not_in, has, has_any, has_all can be asked"),
        ({"and": {"n": 1}}, "where and: a list of conditions"),
        ({"or": []}, "where or: a list of conditions"),
        ({"not": 3}, "is no condition"),
        ({"or": [1]}, "is no condition"),
        ({"or": [{}]}, "is no condition"),
        ([1], "is no condition"),
        ("n = 1", "is no condition"),
        ({"n": list(range(10_001))}, "more than 10,000 values"),
    ],
)
def test_what_is_no_condition_is_refused_in_one_line(mixed, where, reason):
    with pytest.raises(UsageError, match=reason) as raised:
        condition_sql(mixed.schema, where)
    assert len(str(raised.value)) < 300


def test_conditions_deep_inside_each_other_are_refused(mixed):
    where = {"n": 1}
    for _ in range(100_000):
        where = {"not": where}
    with pytest.raises(UsageError, match="more than 32 conditions inside each other"):
        condition_sql(mixed.schema, where)


def test_words_of_logic_are_columns_where_a_table_has_them():
    rows = lance.write_dataset(pa.table({"or": ["a", "b"]}), "memory://")
    assert found(rows, **{"or": ["a"]}) == [0]
