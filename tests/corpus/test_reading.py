from __future__ import annotations

import csv
import gzip
import io
import json
import random

import lance
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.corpus import FileRecord, ReaderOptions, list_sources, plan, read_unit
from pipeline.errors import SourceError

TABLE = pa.table(
    {
        "id": [f"d{index}" for index in range(10)],
        "text": [f"text {index}\nwith “marks”, and a line end" for index in range(10)],
        "n": range(10),
    }
)


def write(table, path):
    if path.name.endswith(".lance"):
        lance.write_dataset(table, path)
    elif ".parquet" in path.name:
        pq.write_table(table, path, row_group_size=3)
    else:
        out = io.BytesIO()
        if ".jsonl" in path.name:
            out.write("".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode())
        else:
            delimiter = "\t" if ".tsv" in path.name else ","
            pa_csv.write_csv(table, out, pa_csv.WriteOptions(delimiter=delimiter))
        pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
        path.write_bytes(pack(out.getvalue()))
    return path


FORMATS = ["parquet", "lance", "jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.gz", "tsv"]


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("slice_rows", [1, 4, 1024])
def test_every_format_gives_the_same_documents(tmp_path, read, suffix, slice_rows):
    path = write(TABLE, tmp_path / f"a.{suffix}")
    result = read(path, keep=("n",), slice_rows=slice_rows)
    assert result.documents.drop(["source", "slice", "row"]).to_pylist() == TABLE.to_pylist()
    assert result.documents["row"].to_pylist() == list(range(10))
    assert set(result.documents["source"].to_pylist()) == {f"file://{path}"}
    assert result.rejects.num_rows == 0
    slices = [each for batch in result.batches for each in batch.slices]
    assert len(slices) == len(set(slices)) == -(-10 // slice_rows)


@pytest.mark.parametrize("suffix", FORMATS)
def test_finished_slices_are_left_out_and_the_others_keep_their_ids(tmp_path, read, suffix):
    path = write(TABLE, tmp_path / f"a.{suffix}")
    whole = read(path, slice_rows=3)
    slices = list(dict.fromkeys(whole.documents["slice"].to_pylist()))
    rest = read(path, slice_rows=3, done=frozenset({slices[1], slices[3]}))
    assert rest.documents["row"].to_pylist() == [0, 1, 2, 6, 7, 8]
    assert set(rest.documents["slice"].to_pylist()) == {slices[0], slices[2]}


@pytest.mark.parametrize("suffix", ["jsonl", "csv.gz"])
def test_a_stream_says_when_it_is_finished_even_with_nothing_left_to_do(tmp_path, read, suffix):
    path = write(TABLE, tmp_path / f"a.{suffix}")
    whole = read(path, slice_rows=4)
    (file,) = list_sources([str(path)])
    record = FileRecord(file.uri, file.version, slices=3, rows=10)
    assert whole.records == [record]
    again = read(path, slice_rows=4, done=np.unique(whole.documents["slice"].to_numpy()))
    assert again.records == [record]
    assert again.documents.num_rows == again.rejects.num_rows == 0
    assert again.documents.schema == whole.documents.schema


def test_batches_hold_whole_slices_within_the_bounds(tmp_path, read):
    path = write(TABLE, tmp_path / "a.jsonl")
    (file,) = list_sources([str(path)])
    options = ReaderOptions("text", "id", slice_rows=3)
    (unit,) = plan([file], options)
    assert [len(batch.slices) for batch in read_unit(unit, options, max_rows=6)] == [2, 2]
    assert [len(batch.slices) for batch in read_unit(unit, options, max_rows=1)] == [1, 1, 1, 1]
    assert [len(batch.slices) for batch in read_unit(unit, options, max_bytes=1)] == [1, 1, 1, 1]


def test_many_small_text_files_share_units(tmp_path, read):
    for index in range(30):
        (tmp_path / f"{index:02}.txt").write_text(f"text {index}")
    (tmp_path / "30.txt.gz").write_bytes(gzip.compress(b"text 30"))
    (tmp_path / "31.txt").write_text("  \n")
    (tmp_path / "32.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "33.txt").write_bytes(b"")
    result = read(tmp_path)
    assert len(result.batches) == 1
    assert result.documents["text"].to_pylist() == [f"text {index}" for index in range(31)]
    assert result.documents["id"][0].as_py().startswith("00.txt-")
    assert sorted(result.rejects["reason"].to_pylist()) == ["empty", "empty", "not UTF-8"]


def test_a_corrupt_file_among_good_ones(tmp_path, read):
    write(TABLE, tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no footer PAR1")
    (tmp_path / "c.parquet").write_bytes(b"")
    pq.write_table(TABLE.drop(["text"]), tmp_path / "d.parquet")
    write(TABLE.set_column(0, "id", pa.array([f"e{index}" for index in range(10)])), tmp_path / "e.parquet")
    (tmp_path / "f.lance").mkdir()
    result = read(tmp_path)
    assert result.documents.num_rows == 20
    assert result.reasons == [(-1, "unreadable")] * 4
    details = result.rejects["detail"].to_pylist()
    assert "no column 'text'" in details[2]
    assert [(record.slices, record.rows) for record in result.records] == [(1, 10), *[(1, 0)] * 3, (1, 10), (1, 0)]


def test_damage_inside_a_parquet_file_costs_its_slices_only(tmp_path, read):
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [random.Random(index).randbytes(500).hex() for index in range(400)]})
    pq.write_table(table, path, row_group_size=100, compression="zstd", use_dictionary=False)
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    at = group.data_page_offset + 40
    data[at : at + group.total_compressed_size - 80] = bytes(group.total_compressed_size - 80)
    path.write_bytes(data)
    result = read(path, slice_rows=50)
    assert result.documents["row"].to_pylist() == [*range(100), *range(200, 400)]
    assert result.reasons == [(-1, "unreadable")] * 2
    assert len({each for batch in result.batches for each in batch.slices}) == 8


def test_a_file_that_shrank_since_it_was_planned_is_rejected_and_not_lost(tmp_path):
    path = write(TABLE, tmp_path / "a.parquet")
    files = list_sources([str(path)])
    options = ReaderOptions("text", "id", slice_rows=4)
    units = list(plan(files, options))
    pq.write_table(TABLE.slice(0, 4), path)
    (batch,) = [batch for unit in units for batch in read_unit(unit, options)]
    assert batch.documents.num_rows == 4
    assert batch.rejects["detail"].to_pylist() == ["the file has fewer rows than when it was planned"] * 2


def test_malformed_json_lines_cost_their_row_only(tmp_path, read):
    lines = [
        b'\xef\xbb\xbf{"id": "a", "text": "good", "n": 1}',
        b"",
        b'{"id": "b", "text": ',
        b'{"id": "c", "text": "\xff"}',
        b'{"id": "d", "text": 7}',
        b'["e"]',
        b'{"id": 6, "text": "integer id", "n": null}',
        b'{"id": null, "text": "no id"}',
        b'{"text": "no id"}',
        b'{"id": "h"}',
        b'{"id": "i", "text": "\\ud800"}',
        b'{"id": "j", "text": "misfit", "n": {"a": 1}}',
        b'{"id": ["k"], "text": "x"}',
        b'{"id": "l", "text": "%s"}' % (b"x" * 10_000_000),
        b"\x00\x01\x02",
        b'{"id": "a", "text": "again"}\r',
        b"[" * 100_000,
        b'{"id": "m", "text": "big", "n": 99999999999999999999}',
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(lines))
    result = read(path, keep=("n",))
    assert result.documents["id"].to_pylist() == ["a", "6", "j", "l", "m"]
    assert result.documents["n"].to_pylist() == ["1", None, '{"a": 1}', None, "99999999999999999999"]
    assert sorted(result.reasons) == [
        (1, "malformed row"),
        (2, "not UTF-8"),
        (3, "malformed row"),
        (4, "malformed row"),
        (6, "missing id"),
        (7, "missing id"),
        (8, "null text"),
        (9, "not UTF-8"),
        (11, "malformed row"),
        (13, "malformed row"),
        (14, "duplicate id"),
        (15, "malformed row"),
    ]


def test_json_that_arrow_would_take_for_other_rows_is_read_by_line(tmp_path, read):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}{"text": "b"}\n{"text": "c"}\n{"text":\n"d"}\n')
    result = read(path)
    assert result.documents["text"].to_pylist() == ["c"]
    assert result.reasons == [(0, "malformed row"), (2, "malformed row"), (3, "malformed row")]


def test_integer_ids_nested_and_sparse_keys_in_json(tmp_path, read):
    rows = [{"id": index, "text": "x", "tags": [{"k": index}], "other": "y" * index} for index in range(5)]
    rows[3] = {"id": 3, "text": "x"}
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = read(path, keep=("tags",), slice_rows=2)
    assert result.documents["id"].to_pylist() == ["0", "1", "2", "3", "4"]
    assert result.documents["tags"].to_pylist() == [[{"k": 0}], [{"k": 1}], [{"k": 2}], None, [{"k": 4}]]


def test_metadata_gets_a_type_that_holds_the_values_of_all_files(tmp_path, read):
    pq.write_table(pa.table({"text": ["a"], "n": [1], "s": ["x"]}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"text": "b", "n": "2", "s": 5}\n{"text": "c", "n": "two", "s": "z"}\n')
    (tmp_path / "c.csv").write_text("text,n,s\nd,3,\ne,three,z\nf,,z\n")
    pq.write_table(pa.table({"text": ["g"], "n": pa.array([7], pa.int8()), "s": [1.5]}), tmp_path / "d.parquet")
    result = read(tmp_path, keep=("n", "s"))
    assert result.documents["text"].to_pylist() == list("abcdefg")
    assert result.documents["n"].to_pylist() == ["1", "2", "two", "3", "three", "", "7"]
    assert result.documents["s"].to_pylist() == ["x", "5", "z", "", "z", "z", "1.5"]
    assert result.rejects.num_rows == 0


def test_bad_csv_rows_cost_themselves_only(tmp_path, read):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"id,text,n\r\n"
        b'1,"two\r\nlines, and ""quotes""",5\r\n'
        b"\r\n"
        b"2,too,many,cells\r\n"
        b"3,few\r\n"
        b"4,caf\xe9,5\r\n"
        b'5,an inch is 1" long,5\r\n'
        b",no id,5\r\n"
        b"7,,5\r\n"
        b"8," + b"x" * 10_000_000 + b",5\r\n"
        b'9,"never closed,5\r\n10,x,5\r\n'
    )
    result = read(path, keep=("n",))
    assert result.documents["id"].to_pylist() == ["1", "5", "8", "9", "10"]
    assert result.documents["text"][0].as_py() == 'two\r\nlines, and "quotes"'
    assert sorted(result.reasons) == [
        (1, "malformed row"),
        (2, "malformed row"),
        (3, "not UTF-8"),
        (5, "missing id"),
        (6, "empty"),
    ]
    assert result.documents["text"].to_pylist()[-2:] == ['"never closed', "x"]
    assert csv.field_size_limit() >= 64 << 20


@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv.gz", "jsonl.zst"])
def test_what_lies_before_the_break_of_a_truncated_file_survives(tmp_path, read, suffix):
    texts = [random.Random(index).randbytes(200).hex() for index in range(2000)]
    table = pa.table({"id": [str(index) for index in range(2000)], "text": texts})
    path = write(table, tmp_path / f"a.{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    result = read(path, slice_rows=100)
    count = result.documents.num_rows
    assert 500 < count < 1100
    assert result.documents["text"].to_pylist() == texts[:count]
    assert result.reasons == [(-1, "unreadable")]
    (record,) = result.records
    assert (record.rows, record.slices) == (count, -(-count // 100) + 1)
    slices = [each for batch in result.batches for each in batch.slices]
    assert len(set(slices)) == record.slices
    assert result.rejects["slice"][0].as_py() == slices[-1]
    again = read(path, slice_rows=100, done=frozenset(slices))
    assert again.rejects.num_rows == 0
    assert again.records == [record]


@pytest.mark.parametrize(("name", "content"), [("a.csv", b"id,text\n"), ("a.tsv", b"id\ttext"), ("a.parquet", None)])
def test_a_file_with_only_a_header_has_no_documents(tmp_path, read, name, content):
    path = tmp_path / name
    if content is None:
        pq.write_table(TABLE.slice(0, 0), path)
    else:
        path.write_bytes(content)
    result = read(path)
    assert result.documents.num_rows == result.rejects.num_rows == 0
    assert [(record.slices, record.rows) for record in result.records] == [(0, 0)]


def test_an_empty_file_among_others_is_finished_at_once(tmp_path, read):
    write(TABLE, tmp_path / "a.jsonl")
    for name in ("b.jsonl", "c.csv", "d.jsonl.gz"):
        (tmp_path / name).write_bytes(b"")
    result = read(tmp_path)
    assert result.documents.num_rows == 10
    assert [record.rows for record in result.records] == [10, 0, 0, 0]


def test_nested_dictionary_and_dotted_columns_of_parquet(tmp_path, read):
    keep = {
        "meta": [{"a": 1, "b": ["x"]}, None],
        "tag": pa.array(["p", "q"]).dictionary_encode(),
    }
    dotted = {"meta.c": ["s", "t"], "a.b": [1, 2]}
    pq.write_table(pa.table({**keep, **dotted}), tmp_path / "a.parquet")
    result = read(tmp_path, text="meta.c", id="a.b", keep=tuple(keep))
    assert result.documents.select(["id", "text"]).to_pydict() == {"id": ["1", "2"], "text": ["s", "t"]}
    assert result.documents.select(list(keep)).to_pydict() == {
        name: column if isinstance(column, list) else column.to_pylist() for name, column in keep.items()
    }
    assert "tag" not in str(result.keep.field("tag").type)


def test_a_text_file_beside_tables_derives_its_id(tmp_path, read):
    write(TABLE, tmp_path / "a.parquet")
    (tmp_path / "readme.md").write_text("about")
    result = read(tmp_path)
    assert result.documents.num_rows == 11
    assert result.documents["id"][10].as_py().startswith("readme.md-")


def test_duplicate_ids_across_the_files_of_a_batch(tmp_path, read):
    write(TABLE, tmp_path / "a.csv")
    write(TABLE.slice(5), tmp_path / "b.csv")
    result = read(tmp_path)
    assert result.documents.num_rows == 10
    assert set(result.rejects["reason"].to_pylist()) == {"duplicate id"}
    assert "a.csv:5" in result.rejects["detail"][0].as_py()


def test_a_file_that_is_gone_is_a_failure_and_no_reject(tmp_path):
    path = write(TABLE, tmp_path / "a.parquet")
    options = ReaderOptions("text", "id")
    (unit,) = plan(list_sources([str(path)]), options)
    path.unlink()
    with pytest.raises(SourceError, match="cannot be opened"):
        list(read_unit(unit, options))


def test_names_of_columns_that_are_not_utf8_are_passed_over(tmp_path, read):
    (tmp_path / "a.csv").write_bytes(b"id,text,Gr\xf6sse\n1,hello there,2\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"id": "b", "text": "hello", "\\ud800": 1}\n')
    assert sorted(read(tmp_path).documents["id"].to_pylist()) == ["1", "b"]
    assert read(tmp_path / "b.jsonl").documents["id"].to_pylist() == ["b"]


def test_metadata_of_mixed_shape_become_json(tmp_path, read):
    values = [*({"x": number} for number in range(3)), [1, "ü"], "text", 7, None]
    lines = [json.dumps({"id": str(row), "text": "t", "m": value}) for row, value in enumerate(values)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    result = read(tmp_path, keep=("m",))
    assert not result.reasons
    assert result.documents["m"].to_pylist() == ['{"x": 0}', '{"x": 1}', '{"x": 2}', '[1, "ü"]', "text", "7", None]
