from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.arrow_types import plain_type
from pipeline.corpus import ReaderOptions, SourceFile, check, documents_schema
from pipeline.corpus.document_checks import to_rows
from pipeline.corpus.formats.base import BadRow, RawRows
from pipeline.corpus.formats.columns import fit, fit_python, infer_python
from pipeline.corpus.slices import Slice
from pipeline.rejects import REJECTS

FILE = SourceFile("file:///dir/a.parquet", "parquet", None, 1, "v")
NO_KEEP = pa.schema([])


def rows(table, id_column="id", keep=NO_KEEP, bad=()):
    raw = RawRows(10, 10 + table.num_rows + len(bad), table, np.arange(10, 10 + table.num_rows), bad)
    return to_rows(raw, FILE, Slice(7, 10, 20), ReaderOptions("text", id_column, tuple(keep.names)), keep)


def by_row(rejects):
    return dict(zip(rejects["row"].to_pylist(), rejects["reason"].to_pylist(), strict=True))


INVISIBLE = " \t\n\u2028\u00a0\u200b\ufeff\u00ad\u2060\u200d\u115f\u3164\ufe0f\U000e0100"
texts = st.none() | st.text(alphabet=f"ab\x1c{INVISIBLE}", max_size=3)
ids = st.none() | st.text(alphabet=" ab", max_size=2)


@given(st.lists(st.tuples(ids, texts), max_size=12))
def test_each_row_is_a_document_or_has_its_reason(pairs):
    table = pa.table(
        {
            "id": pa.array([each[0] for each in pairs], pa.string()),
            "text": pa.array([each[1] for each in pairs], pa.string()),
        }
    )
    read, _, _ = rows(table)
    documents, rejects = check(read, NO_KEEP)
    expected, seen = {}, set()
    for row, (identifier, text) in enumerate(pairs, 10):
        if text is None:
            expected[row] = "null text"
        elif not text.strip(INVISIBLE) or not text.strip():
            expected[row] = "empty"
        elif identifier is None or not identifier.strip():
            expected[row] = "missing id"
        elif identifier in seen:
            expected[row] = "duplicate id"
        else:
            seen.add(identifier)
    assert by_row(rejects) == expected
    assert documents["row"].to_pylist() == [row for row in range(10, 10 + len(pairs)) if row not in expected]
    assert documents.schema == documents_schema(NO_KEEP)
    assert rejects.schema == REJECTS


def test_a_duplicate_names_the_holder():
    read, _, _ = rows(pa.table({"id": ["a", "b", "a"], "text": ["x", "y", "z"]}))
    _, rejects = check(read, NO_KEEP)
    assert rejects.to_pylist() == [
        {
            "id": "a",
            "source": FILE.uri,
            "slice": 7,
            "row": 12,
            "stage": "check",
            "reason": "duplicate id",
            "detail": "file:///dir/a.parquet:10 has this id too",
            "run": None,
        }
    ]


def test_derived_ids_are_unique_and_readable():
    read, _, _ = rows(pa.table({"text": ["x", "x"]}), id_column=None)
    assert read["id"].to_pylist() == ["a.parquet-d0d176c147d8:10", "a.parquet-d0d176c147d8:11"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2]),
        pa.array([1.0, 2.0]),
        pa.array(["1", "2"]).dictionary_encode(),
        pa.array([b"1", b"2"]),
        pa.array(["1", "2"], pa.large_string()),
        pa.array(["1", "2"], pa.string_view()),
    ],
)
def test_ids_and_texts_of_any_scalar_type_become_strings(column):
    read, rejects, _ = rows(pa.table({"id": column, "text": column}))
    assert [value.removesuffix(".0") for value in read["id"].to_pylist()] == ["1", "2"]
    assert read["text"].type == pa.large_string()
    assert rejects.num_rows == 0


def not_utf8(values):
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def test_bytes_that_are_not_utf8_cost_their_row_only():
    table = pa.table(
        {
            "id": pa.array(["a", "b", "c", "d"]),
            "text": pa.array([b"good", b"\xff\xfe", b"good", None]),
            "tag": not_utf8([b"t", b"t", b"\xff", b"t"]),
        }
    )
    keep = pa.schema([("tag", pa.string())])
    read, rejects, misfits = rows(table, keep=keep)
    assert by_row(rejects) == {11: "not UTF-8"}
    assert rejects["id"].to_pylist() == ["b"]
    assert misfits.select(["row", "column"]).to_pylist() == [{"row": 12, "column": "tag"}]
    documents, rejects = check(read, keep)
    assert documents.select(["id", "tag"]).to_pylist() == [{"id": "a", "tag": "t"}, {"id": "c", "tag": None}]
    assert by_row(rejects) == {13: "null text"}


def test_metadata_that_does_not_fit_is_null_and_told():
    keep = pa.schema([("year", pa.int64()), ("tags", pa.list_(pa.string()))])
    table = pa.table({"id": ["a", "b"], "text": ["x", "y"], "year": ["1999", "unknown"], "tags": [["t"], None]})
    read, rejects, misfits = rows(table, keep=keep)
    assert rejects.num_rows == 0
    assert misfits.to_pylist() == [{"source": FILE.uri, "slice": 7, "row": 11, "column": "year"}]
    assert read["year"].to_pylist() == [1999, None]
    assert check(read, keep)[0].schema == documents_schema(keep)


def test_details_are_short_and_storable():
    _, rejects, _ = rows(pa.table({"id": ["a"], "text": ["x"]}), bad=(BadRow(11, "malformed row", "\ud800" * 900),))
    assert rejects["detail"][0].as_py() == "?" * 500


@given(st.lists(st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3), max_size=9))
def test_fitting_python_values_never_loses_one_silently(values):
    fitted, misfits = fit_python(values, pa.int64())
    wrong = dict(misfits)
    assert len(fitted) == len(values)
    for index, (value, result) in enumerate(zip(values, fitted.to_pylist(), strict=True)):
        if index not in wrong:
            assert value == result or (isinstance(value, str) and int(value, 0) == result)
        else:
            assert value is not None
            assert result is None


@pytest.mark.parametrize(("value", "to"), [(2**64 - 1, pa.uint64()), (-(10**37), pa.decimal128(38, 0))])
def test_integers_of_any_size_fit_where_there_is_room(value, to):
    assert fit_python([1, value], to)[0].to_pylist() == [1, value]
    assert fit_python([1, 10 * value], to)[1][0][0] == 1


def test_fitting_a_nested_column_into_a_number_rejects_each_value():
    fitted, misfits = fit(pa.chunked_array([[[1]], [None, [2]]]), pa.int64())
    assert fitted.to_pylist() == [None, None, None]
    assert [index for index, _ in misfits] == [0, 2]


@given(st.lists(st.none() | st.lists(st.integers(-9, 9) | st.none(), max_size=2), max_size=4))
def test_nested_metadata_is_json_where_its_column_holds_strings(values):
    column = pa.chunked_array([values], pa.list_(pa.int64()))
    names = ["a"] * len(values)
    table = pa.table({"id": pa.array(names, pa.string()), "text": pa.array(names, pa.string()), "k": column})
    read, _, misfits = rows(table, keep=pa.schema([("k", pa.string())]))
    assert [each and json.loads(each) for each in read["k"].to_pylist()] == values
    assert not misfits.num_rows
    assert fit(column, pa.string())[0].null_count == len(values)


def test_types_are_made_plain():
    dictionary = pa.dictionary(pa.int8(), pa.string())
    given_type = pa.struct([pa.field("a", dictionary, nullable=False), ("b", pa.list_(pa.null()))])
    assert plain_type(given_type) == pa.struct([("a", pa.string()), ("b", pa.list_(pa.field("item", pa.string())))])
    assert plain_type(pa.uuid()) == pa.binary(16)
    assert infer_python([1, None, 2.5]) == pa.float64()
    assert infer_python([1, "a"]) == infer_python([2**64]) == infer_python(["2020-01-01"]) == pa.string()
    assert infer_python([None, float("nan")]) == pa.null()
    assert infer_python([1, float("nan")]) == pa.int64()
