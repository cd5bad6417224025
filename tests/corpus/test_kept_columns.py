"""Which metadata there is: a column counts that is in any file of the sample."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import ReaderOptions, keep_schema, kept_columns, list_sources
from pipeline.errors import SourceError


def write(path, **columns):
    pq.write_table(pa.table({"text": ["x"], **columns}), path)


def types(folder, *names):
    keep = keep_schema(list_sources([str(folder)]), ReaderOptions("text", keep=names))
    return [str(field.type) for field in keep]


def test_a_column_that_only_a_later_file_has(tmp_path):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet", author=pa.array(["x"]).dictionary_encode())
    (tmp_path / "c.parquet").write_bytes(b"damaged")
    assert types(tmp_path, "author") == ["string"]
    with pytest.raises(SourceError, match="no column 'nope' in the input; there are: text, author"):
        types(tmp_path, "nope")


def test_a_column_that_is_there_twice_decides_nothing(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["x"]), pa.array([1]), pa.array([2])], ["text", "n", "n"])
    pq.write_table(twice, tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="2 columns are called 'n'"):
        types(tmp_path, "n")
    write(tmp_path / "b.parquet", n=["one"])
    assert types(tmp_path, "n") == ["string"]


def test_the_sample_reaches_from_the_first_file_to_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_columns, "_MOST_FOOTERS", 3)
    monkeypatch.setattr(kept_columns, "_MOST_FILES", 2)
    for number in range(9):
        write(tmp_path / f"{number}.parquet", n=pa.array([1], pa.int64() if number == 8 else pa.int8()))
        (tmp_path / f"{number}.jsonl").write_text(json.dumps({"text": "x", "f": 1.5 if number == 8 else 1}))
    assert types(tmp_path, "n", "f") == ["int64", "double"]
    monkeypatch.setattr(kept_columns, "_MOST_FOOTERS", 1)
    monkeypatch.setattr(kept_columns, "_MOST_FILES", 1)
    assert types(tmp_path, "n", "f") == ["int8", "int64"]


def test_of_many_large_streams_fewer_are_looked_at(tmp_path, monkeypatch):
    opened = list[str]()

    def schema(file, **_):
        opened.append(file.name)
        return pa.schema([("n", pa.int64())])

    monkeypatch.setattr(kept_columns, "file_schema", schema)
    for number in range(20):
        (tmp_path / f"{number:02}.jsonl").write_text(json.dumps({"text": "x" * 100, "n": 1}))
    types(tmp_path, "n")
    assert len(opened) == 20
    opened.clear()
    monkeypatch.setattr(kept_columns, "_MOST_BYTES", 10 * 120)
    types(tmp_path, "n")
    assert (len(opened), opened[0], opened[-1]) == (10, "00.jsonl", "19.jsonl")
    opened.clear()
    monkeypatch.setattr(kept_columns, "_MOST_BYTES", 1)
    types(tmp_path, "n")
    assert len(opened) == 8


def test_of_a_file_that_has_a_column_twice_nothing_of_it_is_kept(tmp_path, read, caplog):
    write(tmp_path / "a.parquet", n=[1])
    (tmp_path / "b.csv").write_text("text,n,n\ny,2,3\n")
    result = read(tmp_path, keep=("n",))
    assert result.documents.select(["text", "n"]).to_pylist() == [{"text": "x", "n": 1}, {"text": "y", "n": None}]
    assert "2 columns are called 'n'" in caplog.text


def test_a_column_may_be_both_id_and_metadata(tmp_path, read):
    rows = [{"n": 1, "text": "a"}, {"n": "two", "text": "b"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    result = read(tmp_path, id="n", keep=("n",), schema=pa.schema([("n", pa.int64())]))
    assert result.documents.select(["id", "n"]).to_pylist() == [{"id": "1", "n": 1}, {"id": "two", "n": None}]
    assert (result.misfits, result.rejects.num_rows) == ({"n": 1}, 0)
