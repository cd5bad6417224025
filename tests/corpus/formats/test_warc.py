from __future__ import annotations

import gzip
import random

import pytest

from pipeline.corpus import ReaderOptions, keep_schema, list_sources
from pipeline.errors import SourceError


def record(kind, content, media, url, headers):
    lines = ["WARC/1.0", f"WARC-Type: {kind}", f"WARC-Target-URI: {url}", f"Content-Type: {media}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(content)}", "", ""]
    return "\r\n".join(lines).encode() + content + b"\r\n\r\n"


def archive(*records, compress=True):
    """Records (type, text or bytes, headers, content type), each a gzip member of its own as Common Crawl's are."""
    written = [record("warcinfo", b"software: test", "application/warc-fields", "a.warc.gz", {})]
    for index, (kind, content, headers, media) in enumerate(records):
        data = content if isinstance(content, bytes) else content.encode()
        own = {"WARC-Record-ID": f"<urn:uuid:{index}>", "WARC-Date": "2026-01-02T03:04:05Z"}
        written.append(record(kind, data, media, f"https://example.org/{index}", own | headers))
    return b"".join(gzip.compress(each, 1) if compress else each for each in written)


def text(content):
    return ("conversion", content, {}, "text/plain")


def test_a_wet_file_as_common_crawl_writes_it(tmp_path, read):
    language = {"WARC-Identified-Content-Language": "isl,eng"}
    records = [("conversion", "Gögn", language, "text/plain"), text("second")]
    (tmp_path / "CC-MAIN-1.warc.wet.gz").write_bytes(archive(*records))
    result = read(tmp_path, keep=("url", "date", "language"))
    assert result.documents.drop(["source", "slice"]).to_pylist() == [
        {
            "id": "urn:uuid:0",
            "text": "Gögn",
            "row": 0,
            "url": "https://example.org/0",
            "date": "2026-01-02T03:04:05Z",
            "language": "isl,eng",
        },
        {
            "id": "urn:uuid:1",
            "text": "second",
            "row": 1,
            "url": "https://example.org/1",
            "date": "2026-01-02T03:04:05Z",
            "language": None,
        },
    ]


def test_what_is_no_text_is_rejected_and_what_is_about_the_crawl_is_no_row(tmp_path, read):
    records = [
        ("request", "GET / HTTP/1.1\r\n\r\n", {}, "application/http; msgtype=request"),
        ("response", "HTTP/1.1 200 OK\r\n\r\n<p>HTML</p>", {}, "application/http; msgtype=response"),
        ("metadata", "fetchTimeMs: 5", {}, "application/warc-fields"),
        ("resource", "plain", {}, "Text/Plain; charset=utf-8"),
        ("conversion", b"\x89PNG", {}, "image/png"),
        text(b"caf\xe9"),
        text("  "),
        text("good"),
    ]
    (tmp_path / "a.warc.gz").write_bytes(archive(*records))
    result = read(tmp_path)
    assert result.documents["text"].to_pylist() == ["plain", "good"]
    assert sorted(result.reasons) == [(0, "not text"), (2, "not text"), (3, "not UTF-8"), (4, "empty")]
    assert "urn:uuid:1 is a response of application/http" in result.rejects["detail"].to_pylist()[0]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("cut", [0.02, 0.5, 0.987])
def test_records_before_a_break_survive(tmp_path, read, compress, cut):
    texts = [random.Random(index).randbytes(300).hex() for index in range(200)]
    data = archive(*map(text, texts), compress=compress)
    (tmp_path / ("a.wet" + ".gz" * compress)).write_bytes(data[: int(len(data) * cut)])
    result = read(tmp_path, slice_rows=16)
    count = result.documents.num_rows
    assert abs(count - 200 * cut) < 5
    assert result.documents["text"].to_pylist() == texts[:count]
    assert result.reasons == [(-1, "unreadable")]
    assert [record.rows for record in result.records] == [count]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data.replace(b"Content-Length: 6\r\n", b"Content-Length: 4\r\n"), "longer than"),
        (lambda data: data.replace(b"Content-Length: 6\r\n", b"Content-Length: 99\r\n"), "cut off|damaged|longer"),
        (lambda data: data.replace(b"Content-Length: 6\r\n", b""), "no Content-Length"),
        (lambda data: data.replace(b"Content-Length: 6\r\n", b"Content-Length: x\r\n"), "longer than"),
        (lambda data: data.replace(b"second\r\n\r\nWARC/1.0", b"second\r\n\r\n\0\0\0"), "damaged record"),
    ],
)
def test_a_damaged_record_ends_the_file_and_keeps_what_was_before(tmp_path, read, capfd, damage, says):
    data = archive(text("the first one"), text("second"), text("the third one"), compress=False)
    assert damage(data) != data
    (tmp_path / "a.warc").write_bytes(damage(data))
    result = read(tmp_path)
    assert result.documents["text"].to_pylist()[0] == "the first one"
    assert "the third one" not in result.documents["text"].to_pylist()
    (detail,) = (row["detail"] for row in result.rejects.to_pylist() if row["reason"] == "unreadable")
    assert any(each in detail for each in says.split("|"))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("content", [b"rubbish" * 9, b"\0" * 5000, gzip.compress(b"twice")])
def test_what_is_no_archive_is_one_reject(tmp_path, read, content):
    (tmp_path / "a.wet").write_bytes(content)
    (tmp_path / "b.wet").write_bytes(archive(text("good"), compress=False))
    result = read(tmp_path)
    assert result.documents["text"].to_pylist() == ["good"]
    assert result.reasons == [(-1, "unreadable")]


def test_a_text_that_is_too_long_is_passed_without_being_held(tmp_path, read):
    long = b"x" * ((64 << 20) + 1)
    (tmp_path / "a.wet.gz").write_bytes(archive(text("before"), text(long), text("after")))
    result = read(tmp_path)
    assert result.documents["text"].to_pylist() == ["before", "after"]
    assert result.reasons == [(1, "too long")]


def test_columns_that_no_archive_has(tmp_path):
    (tmp_path / "a.wet").write_bytes(archive(text("x"), compress=False))
    with pytest.raises(SourceError, match="no column 'author' in the input; there are: id, text, url, date, language"):
        keep_schema(list_sources([str(tmp_path)]), ReaderOptions(keep=("author",)))
