"""Every format in every compression, and what may be odd about a file that is otherwise sound."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile

import lance
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import zstandard

ROWS = 10
TABLE = pa.table(
    {
        "id": [f"d{index}" for index in range(ROWS)],
        "text": [f"text {index}\nwith “marks”, and a line end" for index in range(ROWS)],
        "url": [f"https://example.org/{index}" for index in range(ROWS)],
    }
)
COMPRESS = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
    ".zstd": zstandard.ZstdCompressor().compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def jsonl(table):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()


def delimited(table, delimiter):
    out = io.BytesIO()
    pa_csv.write_csv(table, out, pa_csv.WriteOptions(delimiter=delimiter))
    return out.getvalue()


def wet(table):
    head = "WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 3\r\n\r\na:b\r\n\r\n"
    records = (
        f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <{row['id']}>\r\nWARC-Target-URI: {row['url']}\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(row['text'].encode())}\r\n\r\n{row['text']}\r\n\r\n"
        for row in table.to_pylist()
    )
    return "".join((head, *records)).encode()


def shard(table):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for row in table.to_pylist():
            for suffix, content in (("txt", row["text"]), ("json", json.dumps({"url": row["url"]})), ("jpg", "\0")):
                member = tarfile.TarInfo(f"{row['id']}.{suffix}")
                member.size = len(content.encode())
                archive.addfile(member, io.BytesIO(content.encode()))
    return out.getvalue()


STREAMS = {
    "jsonl": jsonl,
    "ndjson": jsonl,
    "json": jsonl,
    "csv": lambda table: delimited(table, ","),
    "tsv": lambda table: delimited(table, "\t"),
    "wet": wet,
    "warc": wet,
    "warc.wet": wet,
    "tar": shard,
}


def in_members(data, compress):
    """As several compressed members, cut anywhere: a reader that stops after the first one loses rows."""
    third = len(data) // 3
    return b"".join(map(compress, (data[:third], data[third : 2 * third], b"", data[2 * third :])))


def assert_whole(result):
    assert result.rejects.to_pylist() == []
    assert result.documents.select(TABLE.column_names).to_pylist() == TABLE.to_pylist()
    assert result.documents["row"].to_pylist() == list(range(ROWS))


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", STREAMS)
def test_a_stream_in_any_compression_and_any_number_of_members(tmp_path, read, suffix, compression):
    path = tmp_path / f"a.{suffix}{compression}"
    path.write_bytes(in_members(STREAMS[suffix](TABLE), COMPRESS[compression]))
    assert_whole(read(path, keep=("url",)))


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "brotli", "lz4"])
def test_parquet_in_any_compression(tmp_path, read, compression):
    pq.write_table(TABLE, tmp_path / "a.parquet", compression=compression, row_group_size=4)
    assert_whole(read(tmp_path, keep=("url",)))


def test_lance(tmp_path, read):
    lance.write_dataset(TABLE, tmp_path / "a.lance")
    assert_whole(read(tmp_path, keep=("url",)))


@pytest.mark.parametrize("compression", COMPRESS)
def test_text_in_any_compression_and_any_number_of_members(tmp_path, read, compression):
    path = tmp_path / f"a.txt{compression}"
    path.write_bytes(in_members(b"\xef\xbb\xbfone\r\ntwo", COMPRESS[compression]))
    assert read(path).documents["text"].to_pylist() == ["one\r\ntwo"]


def test_zstd_frames_that_hold_no_content_are_passed(tmp_path, read):
    skippable = b"\x50\x2a\x4d\x18\x05\0\0\0index"
    frame = zstandard.ZstdCompressor().compress(jsonl(TABLE))
    (tmp_path / "a.jsonl.zst").write_bytes(skippable + frame + skippable)
    assert_whole(read(tmp_path, keep=("url",)))


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv"])
def test_a_byte_order_mark_and_windows_line_ends(tmp_path, read, suffix):
    flat = TABLE.set_column(1, "text", pa.array([f"text {index}" for index in range(ROWS)]))
    data = STREAMS[suffix](flat).replace(b"\n", b"\r\n")
    (tmp_path / f"a.{suffix}").write_bytes(b"\xef\xbb\xbf" + data)
    result = read(tmp_path, keep=("url",))
    assert result.rejects.num_rows == 0
    assert result.documents.select(TABLE.column_names).to_pylist() == flat.to_pylist()


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", STREAMS)
def test_an_empty_file_has_no_rows(tmp_path, read, suffix, compression):
    (tmp_path / f"b.{suffix}{compression}").write_bytes(b"")
    pq.write_table(TABLE, tmp_path / "a.parquet")
    result = read(tmp_path, keep=("url",))
    assert_whole(result)
    assert [record.rows for record in result.records if "/b." in record.uri] == [0]


@pytest.mark.parametrize(
    ("name", "content", "reasons"),
    [
        ("b.jsonl", b"no\n[1]\n\xff\n", ["malformed row", "malformed row", "not UTF-8"]),
        ("b.csv", b"id,text\n1\n2,3,4\n\xff,a\n", ["malformed row", "malformed row", "not UTF-8"]),
        ("b.tar", shard(TABLE.set_column(1, "text", pa.array([" "] * ROWS))), ["empty"] * ROWS),
        ("b.wet", wet(TABLE.set_column(1, "text", pa.array([""] * ROWS))), ["empty"] * ROWS),
        ("b.txt", b"\xff", ["not UTF-8"]),
    ],
)
def test_a_file_with_only_bad_rows(tmp_path, read, name, content, reasons):
    (tmp_path / name).write_bytes(content)
    pq.write_table(TABLE.select(["id", "text"]), tmp_path / "a.parquet")
    result = read(tmp_path)
    assert result.documents.num_rows == ROWS
    assert result.rejects["reason"].to_pylist() == reasons


def test_nul_characters_are_characters(tmp_path, read):
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,a\0b\n2,\0\n")
    (tmp_path / "b.jsonl").write_bytes(b'{"id": "3", "text": "a\\u0000b"}\n{"id": "4", "text": "a\0b"}\n')
    result = read(tmp_path)
    assert result.documents.select(["id", "text"]).to_pylist()[::2] == [
        {"id": "1", "text": "a\0b"},
        {"id": "3", "text": "a\0b"},
    ]
    assert result.reasons == [(1, "malformed row")]


@pytest.mark.parametrize("depth", [100, 3000, 1_000_000])
def test_json_nested_beyond_reason_costs_at_most_its_row(tmp_path, read, depth):
    deep = b"[" * depth + b"]" * depth
    lines = [
        b'{"id": "a", "text": "x"}',
        b'{"id": "b", "text": "y", "z": %s}' % deep,
        b'{"id": "c", "text": %s}' % deep,
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    result = read(tmp_path)
    assert result.documents["id"].to_pylist() in (["a"], ["a", "b"])
    assert set(result.reasons) <= {(1, "malformed row"), (2, "malformed row")}


def test_numbers_beyond_every_type_cost_at_most_their_row(tmp_path, read):
    huge = "9" * 5000
    rows = [f'{{"id": {huge[:40]}, "text": "x"}}', f'{{"id": "b", "text": "y", "n": {huge[:40]}}}']
    rows += [f'{{"id": "c", "text": "z", "other": {huge}}}', '{"id": "d", "text": "w", "n": 1}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    result = read(tmp_path, keep=("n",))
    assert result.documents["id"].to_pylist()[0] == huge[:40]
    assert result.documents["id"].to_pylist()[-1] == "d"
    assert set(result.rejects["reason"].to_pylist()) <= {"malformed row"}


def test_an_integer_inside_a_list_or_a_record_is_not_rounded(tmp_path, read):
    rows = ['{"text": "a", "l": [0.5], "s": {"n": [0.5]}}', '{"text": "b", "l": [%d], "s": {"n": [%d]}}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows) % (2**53 + 1, 2**53 + 1))
    floats = pa.list_(pa.float64())
    result = read(tmp_path, keep=("l", "s"), schema=pa.schema([("l", floats), ("s", pa.struct([("n", floats)]))]))
    assert result.documents["l"].to_pylist() == [[0.5], None]
    assert result.misfits == {"l": 1, "s": 1}


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_not_a_number_is_no_id(tmp_path, read, kind):
    ids = pa.array([1.5, float("nan"), None, float("nan")], kind)
    pq.write_table(pa.table({"id": ids, "text": list("abcd")}), tmp_path / "a.parquet")
    (tmp_path / "b.jsonl").write_text('{"id": NaN, "text": "e"}\n{"id": null, "text": "f"}\n{"id": 2.5, "text": "g"}\n')
    result = read(tmp_path)
    assert result.documents["id"].to_pylist() == ["1.5", "2.5"]
    assert result.reasons == [(row, "missing id") for row in (1, 2, 3, 0, 1)]
