"""Metadata that changes its type: every format, every kind of change, in one file, a later file, and a later run.

Documents in are documents out, whatever the metadata; each value is what it was, or null and counted.
"""

# ruff: noqa: DTZ001 - timestamps without a zone are what is tested

from __future__ import annotations

import csv
import io
import json
import math
import tarfile
from datetime import date, datetime
from decimal import Decimal

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus.formats.columns import fit_python, infer_python

MISSING = object()
KINDS = {
    "missing": (([1, 2], pa.int64()), ([MISSING, MISSING], None)),
    "missing first": (([MISSING, MISSING], None), ([1, 2], pa.int64())),
    "null": (([1, 2], pa.int64()), ([None, None], pa.null())),
    "null first": (([None, None], pa.null()), ([1, 2], pa.int64())),
    "wider": (([1, 2], pa.int32()), ([3, 2**40], pa.int64())),
    "narrower": (([1, 2**40], pa.int64()), ([3, 4], pa.int8())),
    "unsigned": (([1, -2], pa.int64()), ([3, 2**64 - 1], pa.uint64())),
    "of any size": (([1, -2], pa.int64()), ([3, 2**70], pa.decimal128(38, 0))),
    "float": (([1, 2], pa.int64()), ([0.5, 2.0], pa.float64())),
    "int after float": (([0.5, 2.0], pa.float64()), ([1, 2**53 + 1], pa.int64())),
    "float32": (([0.5, 2.0], pa.float32()), ([0.25, 1e300], pa.float64())),
    "decimal": (([0.5, 2.0], pa.float64()), ([Decimal("0.25"), Decimal("1.50")], pa.decimal128(5, 2))),
    "nan": (([1, 2], pa.int64()), ([math.nan, 2.0], pa.float64())),
    "word": (([1, 2], pa.int64()), (["three", "4"], pa.string())),
    "int after word": ((["one", "2"], pa.string()), ([3, 4], pa.int64())),
    "truth value": (([1, 2], pa.int64()), ([True, False], pa.bool_())),
    "int after truth value": (([True, False], pa.bool_()), ([1, 2], pa.int64())),
    "bytes": ((["a", "b"], pa.string()), ([b"c", b"\xff"], pa.binary())),
    "unit": (
        ([datetime(2024, 1, 1), datetime(9999, 12, 31)], pa.timestamp("s")),
        ([datetime(2024, 1, 1, 0, 0, 0, 7), datetime(2024, 1, 2)], pa.timestamp("us")),
    ),
    "coarser": (
        ([datetime(2024, 1, 1, 0, 0, 0, 7), datetime(2024, 1, 2)], pa.timestamp("ns")),
        ([datetime(2024, 1, 1), datetime(9999, 12, 31)], pa.timestamp("s")),
    ),
    "time after date": (([date(2024, 1, 1)], pa.date32()), ([datetime(2024, 1, 1, 12)], pa.timestamp("ms"))),
    "date after time": (([datetime(2024, 1, 1, 12)], pa.timestamp("ms")), ([date(2024, 1, 1)], pa.date32())),
    "number after date": (([date(2024, 1, 1)], pa.date32()), ([5], pa.int64())),
    "date after number": (([5], pa.int64()), ([date(2024, 1, 1)], pa.date32())),
    "field": (([{"a": 1}], None), ([{"a": 2, "b": "x"}, {"a": 3, "b": None}], None)),
    "list after number": (([1], pa.int64()), ([[1, 2]], None)),
    "list of nothing": (([[]], pa.list_(pa.null())), ([[1.5]], None)),
}


def columns(values, kind, start):
    rows = range(start, start + len(values))
    table = pa.table({"id": [f"d{row}" for row in rows], "text": [f"text {row}" for row in rows]})
    return table if values[0] is MISSING else table.append_column("m", pa.array(values, kind))


def plain(values, start):
    """Rows as a program writes them into a file of text."""
    rows = [{"id": f"d{row}", "text": f"text {row}", "m": value} for row, value in enumerate(values, start)]
    written = [{name: value for name, value in row.items() if value is not MISSING} for row in rows]
    return [
        {
            name: value if isinstance(value, int | float | str | list | dict | None) else str(value)
            for name, value in row.items()
        }
        for row in written
    ]


def write_parquet(path, values, kind, start):
    pq.write_table(columns(values, kind, start), path)


def write_lance(path, values, kind, start):
    lance.write_dataset(columns(values, kind, start), path)


def write_lines(path, values, kind, start):
    path.write_text("".join(json.dumps(row) + "\n" for row in plain(values, start)))


def write_document(path, values, kind, start):
    path.write_text(json.dumps(plain(values, start), indent=1))


def write_csv(path, values, kind, start):
    rows = plain(values, start)
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, delimiter="\t" if path.suffix == ".tsv" else ",")
    writer.writeheader()
    writer.writerows(
        {name: json.dumps(each) if isinstance(each, list | dict) else each for name, each in row.items()}
        for row in rows
    )
    path.write_text(out.getvalue())


def write_shard(path, values, kind, start):
    with tarfile.open(path, "w") as archive:
        for row in plain(values, start):
            for suffix, content in (("txt", row.pop("text")), ("json", json.dumps(row))):
                member = tarfile.TarInfo(f"{row['id']}.{suffix}")
                member.size = len(content.encode())
                archive.addfile(member, io.BytesIO(content.encode()))


ARROW = {"parquet": write_parquet, "lance": write_lance}
TEXTUAL = {"jsonl": write_lines, "json": write_document, "csv": write_csv, "tsv": write_csv, "tar": write_shard}
WRITERS = ARROW | TEXTUAL


def is_missing(value, suffix):
    """Whether there is no value; delimited text has no word for that but the empty cell."""
    if suffix in {"csv", "tsv"}:
        return value in (MISSING, None, "")
    return value is MISSING or value is None or value != value  # noqa: PLR0124


def said(value):
    """What a value says, whether it is a text or of its own type."""
    if isinstance(value, dict):
        return {name: said(each) for name, each in value.items() if each is not None}
    if isinstance(value, list):
        return [said(each) for each in value]
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, bytes):
        return value.decode()
    return said_by(value) if isinstance(value, str) else value


def said_by(text):
    for read in (json.loads, Decimal, datetime.fromisoformat):
        try:
            found = read(text)
        except (ValueError, ArithmeticError):
            continue
        return found if isinstance(found, str) else said(found)
    return {"True": True, "False": False}.get(text, text)


def same(one, other):
    return one == other or (one != one and other != other)  # noqa: PLR0124


def check(result, values, suffix):
    assert result.rejects.to_pylist() == []
    assert result.documents["text"].to_pylist() == [f"text {row}" for row in range(len(values))]
    lost = 0
    for value, stored in zip(values, result.documents["m"].to_pylist(), strict=True):
        if stored in (None, "") and not is_missing(value, suffix):
            lost += 1
        else:
            assert is_missing(value, suffix) or same(said(value), said(stored)), (value, stored, result.keep)
    assert result.misfits["m"] == lost
    return lost


@pytest.fixture
def write(tmp_path):
    def to(name, suffix, given, start=0):
        path = tmp_path / f"{name}.{suffix}"
        WRITERS[suffix](path, *given, start)
        return path

    return to


BOUNDED = {"of any size", "int after float", "coarser", "bytes", "float32"}
"""Of which no type that a table has holds all values, where they come as Arrow's."""
PAIRS = [(kind, suffix) for kind in KINDS for suffix in WRITERS if suffix in ARROW or kind != "bytes"]
"""No text holds bytes."""


@pytest.mark.parametrize(("kind", "suffix"), PAIRS)
def test_in_a_later_file(write, read, kind, suffix):
    first, second = KINDS[kind]
    sources = [write("a", suffix, first), write("b", suffix, second, len(first[0]))]
    lost = check(read(*sources, keep=("m",)), [*first[0], *second[0]], suffix)
    assert lost == 0 or (kind in BOUNDED and lost <= 1) or (kind == "list after number" and suffix in ARROW)


@pytest.mark.parametrize(("kind", "suffix"), [pair for pair in PAIRS if pair[0] != "missing first"])
def test_in_a_later_run(write, read, kind, suffix):
    first, second = KINDS[kind]
    made = read(write("a", suffix, first), keep=("m",))
    check(read(write("b", suffix, second), options=made.options, schema=made.keep), second[0], suffix)


@pytest.mark.parametrize(("kind", "suffix"), [pair for pair in PAIRS if pair[1] in TEXTUAL])
def test_in_the_same_file(write, read, kind, suffix):
    first, second = KINDS[kind]
    values = [*first[0], *second[0]]
    check(read(write("a", suffix, (values, None)), keep=("m",)), values, suffix)


@pytest.mark.parametrize("one", WRITERS)
@pytest.mark.parametrize("other", WRITERS)
def test_between_formats(write, read, one, other):
    first, second = KINDS["float"]
    sources = [write("a", one, first), write("b", other, second, 2)]
    assert check(read(*sources, keep=("m",)), [*first[0], *second[0]], "") == 0


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize(("kind", "most"), [(pa.float16(), 2**11), (pa.float32(), 2**24), (pa.float64(), 2**53)])
def test_an_integer_that_its_column_would_round_is_null_and_counted(write, read, suffix, kind, most):
    for name, odd in (("alone", []), ("with floats", [] if suffix in ARROW else [0.5])):
        values = [*odd, 1, most, -most - 1, 2]
        result = read(write(name, suffix, (values, pa.int64())), schema=pa.schema([("m", kind)]), keep=("m",))
        assert result.documents["m"].to_pylist() == [*odd, 1, most, None, 2]
        assert result.misfits == {"m": 1}


def test_far_behind_what_is_looked_at_the_odd_value_is_null_and_counted(tmp_path, read, monkeypatch):
    monkeypatch.setattr("pipeline.corpus.formats.json_lines.SAMPLE_ROWS", 10)
    values = [*range(10), 4.5, "word", math.nan, 2**70, [1], 5]
    write_lines(tmp_path / "a.jsonl", values, None, 0)
    result = read(tmp_path, keep=("m",), slice_rows=3)
    assert result.documents["m"].to_pylist() == [*range(10), None, None, None, None, None, 5]
    assert (result.rejects.num_rows, result.misfits) == (0, {"m": 4})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(json_values, min_size=1, max_size=8))
def test_any_json_value_is_kept_or_null_and_told(values):
    kind = infer_python(values)
    fitted, misfits = fit_python(values, kind if kind != pa.null() else pa.string())
    lost = {index for index, _ in misfits}
    assert len(fitted) == len(values)
    for index, (value, stored) in enumerate(zip(values, fitted.to_pylist(), strict=True)):
        if stored is None:
            assert index in lost or value is None or value != value  # noqa: PLR0124
        else:
            assert index not in lost
