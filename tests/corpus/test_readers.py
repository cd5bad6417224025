from __future__ import annotations

import json

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import ReaderOptions, keep_schema, list_sources, resolve_columns
from pipeline.corpus.readers import UnreadableError, extents, file_schema
from pipeline.errors import SourceError, UsageError


@pytest.fixture
def parquet(tmp_path):
    def write(name="a.parquet", **columns):
        pq.write_table(pa.table(columns), tmp_path / name)
        return list_sources([str(tmp_path)])

    return write


def test_columns_are_found_by_their_usual_names(parquet):
    assert resolve_columns(parquet(text=["x"], id=["1"]), ReaderOptions()) == ReaderOptions("text", "id")
    assert resolve_columns(parquet(body=["x"], title=["t"]), ReaderOptions()) == ReaderOptions("body", None)
    kept = ReaderOptions(keep=("b", "a", "b"))
    assert resolve_columns(parquet(text=["x"], a=[1], b=[2]), kept).keep == ("b", "a")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (ReaderOptions(), "which column holds the text.*body, content, n"),
        (ReaderOptions(text="nope"), "no column 'nope'.*body, content, n"),
        (ReaderOptions(text="n"), "int64 and cannot be the text"),
        (ReaderOptions(text="tags"), "cannot be the text"),
        (ReaderOptions(text="body", id="nope"), "no column 'nope'"),
        (ReaderOptions(text="body", id="tags"), "cannot be the id"),
        (ReaderOptions(text="body", keep=("nope",)), "no column 'nope'"),
    ],
)
def test_a_column_that_cannot_be_used_is_an_error_before_anything_is_read(parquet, options, says):
    files = parquet(body=["x"], content=["y"], n=[1], tags=[["t"]])
    with pytest.raises(SourceError, match=says):
        keep_schema(files, resolve_columns(files, options))


@pytest.mark.parametrize("options", [ReaderOptions(keep=("vector",)), ReaderOptions(slice_rows=0)])
def test_options_that_no_table_can_have_are_wrong_usage(parquet, options):
    with pytest.raises(UsageError):
        resolve_columns(parquet(text=["x"], vector=["y"]), options)


def test_damaged_empty_and_text_files_do_not_decide_the_columns(tmp_path, parquet):
    (tmp_path / "0.parquet").write_bytes(b"rubbish")
    (tmp_path / "1.jsonl").write_bytes(b"")
    (tmp_path / "README.md").write_text("about")
    assert resolve_columns(parquet("z.parquet", body=["x"]), ReaderOptions()).text == "body"


def test_text_files_alone_have_a_text(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    files = list_sources([str(tmp_path)])
    assert resolve_columns(files, ReaderOptions()) == ReaderOptions("text")
    with pytest.raises(SourceError, match="no column 'title'"):
        keep_schema(files, ReaderOptions(keep=("title",)))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"rubbish" * 9, "Parquet magic bytes"),
        ("a.jsonl", b"", "holds no column"),
        ("a.csv", b"", "holds no column"),
        ("a.json", b'[{"text": "x"}, 5', "neither a JSON document nor JSON lines"),
        ("a.jsonl.gz", b"rubbish", "incorrect header"),
    ],
)
def test_an_input_of_which_nothing_can_be_read_is_an_error(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=says):
        resolve_columns(list_sources([str(tmp_path / name)]), ReaderOptions("text"))


def test_rows_are_counted_where_metadata_tells(tmp_path, parquet):
    parquet(text=["a", "b", "c"])
    lance.write_dataset(pa.table({"text": ["a", "b", "c", "d"]}), tmp_path / "b.lance").delete("text = 'a'")
    (tmp_path / "c.txt").write_text("x\ny")
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n')
    found = [extents(file, ReaderOptions("text")) for file in list_sources([str(tmp_path)])]
    assert [known and sum(extent.rows for extent in known) for known in found] == [3, 3, 1, None]


def test_metadata_types_come_from_the_first_file(tmp_path, parquet):
    files = parquet(
        text=["x"],
        tag=pa.array(["a"]).dictionary_encode(),
        when=pa.array([0], pa.timestamp("us", "UTC")),
        nested=[{"a": [1, None]}],
        never=pa.nulls(1),
    )
    keep = keep_schema(files, ReaderOptions("text", keep=("when", "tag", "nested", "never")))
    assert keep == pa.schema(
        [
            ("when", pa.timestamp("us", "UTC")),
            ("tag", pa.string()),
            ("nested", pa.struct([("a", pa.list_(pa.field("element", pa.int64())))])),
            ("never", pa.string()),
        ]
    )


def test_metadata_types_of_json_and_csv_are_inferred(tmp_path):
    rows = [
        {"text": "x", "n": 1, "f": 1, "b": True, "day": "2020-01-01", "mixed": 1, "tags": [], "o": {"k": 1}},
        {"text": "x", "n": None, "f": 2.5, "b": None, "day": "2020-01-02", "mixed": "a", "tags": ["t"], "o": {}},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    names = ("n", "f", "b", "day", "mixed", "tags", "o")
    keep = keep_schema(list_sources([str(tmp_path)]), ReaderOptions("text", keep=names))
    assert [str(field.type) for field in keep] == [
        "int64",
        "double",
        "bool",
        "string",
        "string",
        "list<item: string>",
        "struct<k: int64>",
    ]
    (tmp_path / "a.jsonl").unlink()
    (tmp_path / "a.csv").write_text("text,n,f,b,zip,empty\nx,1,1,true,01234,\ny,,2.5,false,99999,\n")
    names = ("n", "f", "b", "zip", "empty")
    keep = keep_schema(list_sources([str(tmp_path)]), ReaderOptions("text", keep=names))
    assert [str(field.type) for field in keep] == ["int64", "double", "bool", "string", "string"]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int32())), "'m' is map<.*, which a table"),
        (pa.array([[[("a", 1)]]], pa.list_(pa.map_(pa.string(), pa.int32()))), "'m' is list<.*map"),
        (pa.array([["a", "b"]], pa.list_(pa.string(), 2)), "which a table cannot hold"),
    ],
)
def test_what_a_table_cannot_hold_is_refused_before_anything_is_made(tmp_path, column, says):
    pq.write_table(pa.table({"text": ["t"], "m": column}), tmp_path / "a.parquet")
    files = list_sources([str(tmp_path)])
    with pytest.raises(SourceError, match=says):
        keep_schema(files, resolve_columns(files, ReaderOptions("text", keep=("m",))))


def test_a_lance_directory_whose_manifest_makes_lance_panic_is_unreadable(tmp_path):
    lance.write_dataset(pa.table({"text": ["a"]}), tmp_path / "a.lance")
    (manifest,) = (tmp_path / "a.lance" / "_versions").glob("*.manifest")
    data = bytearray(manifest.read_bytes())
    at = int.from_bytes(data[-16:-8], "little")
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    manifest.write_bytes(data)
    (file,) = list_sources([str(tmp_path)])
    with pytest.raises(UnreadableError, match="not readable as a Lance dataset"):
        file_schema(file)


def test_a_lance_directory_with_a_type_that_lance_does_not_know_is_unreadable(tmp_path):
    lance.write_dataset(pa.table({"text": ["a"]}), tmp_path / "a.lance")
    for manifest in (tmp_path / "a.lance" / "_versions").glob("*.manifest"):
        manifest.write_bytes(manifest.read_bytes().replace(b"string", b"strin,"))
    (file,) = list_sources([str(tmp_path)])
    with pytest.raises(UnreadableError, match="Unsupported logical type"):
        file_schema(file)
