"""Files called ``.json``: documents, lines, and what is neither. Never some lines of a document."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.corpus import list_sources, resolve_columns
from pipeline.corpus.formats import json_document
from pipeline.corpus.readers import ReaderOptions
from pipeline.errors import SourceError

ROWS = [{"id": f"d{index}", "text": f"text {index}", "o": {"id": "inner", "text": "none"}} for index in range(5)]
SHAPES = {
    "array": json.dumps,
    "indented": lambda rows: json.dumps(rows, indent=2),
    "element a line": lambda rows: "[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n",
    "leading commas": lambda rows: "[\n" + "\n,\n".join(map(json.dumps, rows)) + "\n]",
    "carriage returns": lambda rows: json.dumps(rows, indent=1).replace("\n", "\r"),
    "byte order mark": lambda rows: "\ufeff" + json.dumps(rows, indent=1),
    "lines": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "spaced lines": lambda rows: "\r\n\r\n".join(json.dumps(row) for row in rows),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_the_rows_of_a_file_whatever_its_shape(tmp_path, read, shape, compress):
    name = "a.json" if compress is bytes else "a.json.gz"
    (tmp_path / name).write_bytes(compress(SHAPES[shape](ROWS).encode()))
    result = read(tmp_path, slice_rows=2)
    assert result.rejects.num_rows == 0
    assert result.documents.select(["id", "text", "row"]).to_pylist() == [
        {"id": row["id"], "text": row["text"], "row": index} for index, row in enumerate(ROWS)
    ]


@pytest.mark.parametrize("indent", [None, 0, 4])
def test_an_object_is_a_row(tmp_path, read, indent):
    (tmp_path / "a.json").write_text(json.dumps(ROWS[0], indent=indent))
    assert read(tmp_path).documents["id"].to_pylist() == ["d0"]


def test_a_document_that_is_called_lines_is_refused_as_a_whole(tmp_path, read):
    (tmp_path / "a.jsonl").write_text('{\n"text": "article",\n"authors": [\n{"text": "biography"}\n]\n}\n')
    (tmp_path / "b.jsonl").write_text('{"text": "line"}\n')
    result = read(tmp_path)
    assert result.documents["text"].to_pylist() == ["line"]
    assert "ends with .json" in result.rejects["detail"].to_pylist()[0]


json_objects = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "text", "a"]), inner, max_size=3)
    ),
    max_leaves=9,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.fixed_dictionaries({"text": json_objects}), min_size=1, max_size=4), st.sampled_from([0, 1, 3]))
def test_a_document_is_never_taken_for_lines(rows, indent):
    text = json.dumps(rows, indent=indent).encode()
    assert json_document._is_document(text)
    cut = text[: len(text) * 2 // 3]
    assert not cut.count(b"\n") or json_document._is_document(cut)


def test_a_document_of_which_a_line_is_a_row_by_itself_is_refused_if_it_is_damaged(tmp_path, read):
    whole = json.dumps({"id": "a", "text": "article", "authors": [0]}, indent=1)
    (tmp_path / "b.json").write_text(whole.replace("0", json.dumps(ROWS[0])).rstrip("}"))
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[1]))
    result = read(tmp_path)
    assert result.documents["id"].to_pylist() == ["d1"]
    assert result.reasons == [(-1, "unreadable")]
    assert "neither a JSON document nor JSON lines" in result.rejects["detail"][0].as_py()


def test_lines_of_which_some_are_damaged_are_lines(tmp_path, read):
    lines = ['{"id": "broken", ', *map(json.dumps, ROWS), "[1]"]
    (tmp_path / "a.json").write_text("\n".join(lines))
    result = read(tmp_path)
    assert result.documents["id"].to_pylist() == [row["id"] for row in ROWS]
    assert result.reasons == [(0, "malformed row"), (6, "malformed row")]


def test_elements_that_are_no_objects_are_rejected_one_by_one(tmp_path, read):
    (tmp_path / "a.json").write_text(json.dumps([ROWS[0], 5, None, ROWS[1]], indent=1))
    result = read(tmp_path)
    assert result.documents["row"].to_pylist() == [0, 3]
    assert result.reasons == [(1, "malformed row"), (2, "malformed row")]


def test_a_document_too_large_for_memory_is_refused(tmp_path, read, monkeypatch):
    (tmp_path / "a.jsonl").write_text(json.dumps(ROWS[1]))
    (tmp_path / "b.json").write_text(json.dumps(ROWS, indent=1))
    monkeypatch.setattr(json_document, "MAX_TEXT_BYTES", 100)
    result = read(tmp_path)
    assert result.documents["id"].to_pylist() == ["d1"]
    assert "more than 64 MiB" in result.rejects["detail"][0].as_py()


def test_what_comes_before_a_break_is_read(tmp_path, read):
    rows = [{"id": f"d{index}", "text": f"text {index * index}"} for index in range(4000)]
    packed = gzip.compress(SHAPES["lines"](rows).encode())
    (tmp_path / "a.json.gz").write_bytes(packed[:-100])
    result = read(tmp_path, slice_rows=100)
    assert 3000 < result.documents.num_rows < 4000
    assert result.rejects["reason"].to_pylist()[-1] == "unreadable"


@pytest.mark.parametrize("content", ["[1, 2]", "[]x", '{"a": 1,\n "b"', "5"])
def test_a_file_without_a_row_is_said_to_be_one(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SourceError, match="JSON"):
        resolve_columns(list_sources([str(tmp_path)]), ReaderOptions("text"))


def test_integers_of_any_size(tmp_path, read):
    huge = "7" * 5000
    (tmp_path / "a.json").write_text(
        f'[\n{{"id": {huge}, "text": "x", "n": {huge}}},\n{{"id": 2, "text": "y", "n": 1}}]'
    )
    result = read(tmp_path, keep=("n",))
    assert result.documents.select(["id", "n"]).to_pylist() == [{"id": huge, "n": huge}, {"id": "2", "n": "1"}]
