"""Inputs as people have them, below ``cases/``: what must become of each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("per_file", ["p0", "p1", "p9"]),
        ("sub_objects", ["art0", "art1", "art2"]),
        ("array_lines", ["0", "1", "2", "3", "4"]),
    ],
)
def test_json_documents(read, name, ids):
    result = read(CASES / "pretty_json" / name)
    assert result.documents["id"].to_pylist() == ids
    assert result.rejects.num_rows == 0


def test_the_year_9999_of_spark(read):
    result = read(CASES / "int96_9999", keep=("valid_to",))
    last = datetime(9999, 12, 31)  # noqa: DTZ001 - INT96 has no zone
    values = result.documents["valid_to"].to_pylist()
    assert last in values
    assert all(2000 <= value.year <= 2100 or value == last for value in values if value is not None)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_later_file_without_the_column(read, suffix):
    folder = CASES / "missing_keep_column"
    result = read(folder / f"a.{suffix}", folder / f"b.{suffix}", keep=("author",))
    assert (result.documents.num_rows, result.rejects.num_rows) == (10, 0)
    assert result.documents["author"].null_count == 5


@pytest.mark.parametrize(
    ("files", "column", "kind", "rows"),
    [
        (["int_then_float.jsonl"], "n", pa.float64(), 1050),
        (["int_then_nan.jsonl"], "n", pa.int64(), 1050),
        (["int_then_word.jsonl"], "n", pa.string(), 1050),
        (["i32.parquet", "i64.parquet"], "n", pa.int64(), 10),
        (["t_s.parquet", "t_us.parquet"], "t", pa.timestamp("us"), 10),
    ],
)
def test_metadata_whose_type_widens(read, files, column, kind, rows):
    result = read(*(CASES / "metadata_drift" / name for name in files), keep=(column,))
    assert result.keep.field(column).type == kind
    assert (result.documents.num_rows, result.rejects.num_rows, not result.misfits) == (rows, 0, True)


def test_hive_partitions(read):
    result = read(CASES / "hive_and_ids" / "hive", keep=("year", "lang"))
    assert set(result.documents["year"].to_pylist()) == {2023, 2024}
    assert set(result.documents["lang"].to_pylist()) == {"en", "de"}


def test_ids_that_are_unique_in_their_file_only(read):
    shards = CASES / "hive_and_ids" / "shards"
    assert read(shards).documents.num_rows == 20
    derived = read(shards, id="")
    assert (derived.documents.num_rows, derived.options.id) == (40, None)
