"""Text as it is written elsewhere: other delimiters, quotes and encodings, found out or said."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.corpus import AskedDialect, ReaderOptions, list_sources, slice_id
from pipeline.corpus import dialects as module
from pipeline.corpus.dialect import ONE_COLUMN, Dialect, dialect_of, with_dialect
from pipeline.corpus.dialects import settle_dialects
from pipeline.corpus.source_file import SourceFile
from pipeline.errors import UsageError

CASES = Path(__file__).parent / "cases"
ROWS = [[str(number), f"document {number}, of a few words"] for number in range(20)]


def written(path, *, encoding="utf-8", rows=ROWS, header=("id", "text"), **dialect):
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, **dialect)
        writer.writerows([header, *rows])
    return path


def texts(result):
    return [[row["id"], row["text"]] for row in result.documents.select(["id", "text"]).to_pylist()]


@pytest.mark.parametrize("name", ["stray_quote/a.tsv", "stray_quote/a.csv"])
def test_rows_do_not_melt_at_a_stray_quotation_mark(read, name):
    result = read(CASES / name)
    rows = dict(texts(result))
    assert len(rows) + result.rejects.num_rows == 20
    assert rows["9"].startswith(('"Ready" was', '"quoted end" bridge'))
    if name.endswith(".tsv"):
        assert rows["3"].startswith('"Never unbalanced, said the clerk')
        assert len(rows) == 20


@pytest.mark.parametrize("name", ["backslash", "semicolon", "spaces", "oldmac", "trailing"])
def test_other_dialects_are_read(read, name):
    result = read(CASES / "csv_dialects" / f"{name}.csv")
    assert result.documents.num_rows == 20
    assert not result.rejects.num_rows
    assert all(row.strip() == row and '\\"' not in row for row in result.documents["text"].to_pylist())


def test_a_line_that_announces_the_delimiter_is_no_header(read, tmp_path):
    (tmp_path / "a.csv").write_text('sep=|\nid|text\n1|"a|b"\n')
    assert read(tmp_path / "a.csv").documents["text"].to_pylist() == ["a|b"]


def test_encodings_are_told_by_a_mark_or_by_people(read):
    marked = read(CASES / "encodings" / "utf16.csv")
    assert marked.documents.num_rows
    assert not marked.rejects.num_rows
    plain = read(CASES / "encodings" / "cp1252.csv")
    assert {reason for _, reason in plain.reasons} == {"not UTF-8"}
    assert "no utf-8" in plain.rejects["detail"][0].as_py()
    (file,) = list_sources([str(CASES / "encodings" / "cp1252.csv")], dialect=AskedDialect(encoding="windows-1252"))
    assert dialect_of(file).encoding == "cp1252"


def test_text_files_of_other_encodings(read):
    result = read(CASES / "encodings" / "txt")
    assert not any("\0" in text or text.startswith("\ufeff") for text in result.documents["text"].to_pylist())
    details = dict(zip(result.rejects["source"].to_pylist(), result.rejects["detail"].to_pylist(), strict=True))
    (nul,) = (detail for uri, detail in details.items() if uri.endswith("utf16le_nobom.txt"))
    assert "--encoding utf-16-le" in nul


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "utf-16", "utf-8-sig", "utf-32"])
@pytest.mark.parametrize("suffix", ["csv", "txt", "jsonl"])
def test_any_format_of_text_in_any_encoding(tmp_path, encoding, suffix):
    from pipeline.corpus import plan, read_unit, resolve_columns

    text = "Ein Überfluß an Straßen"
    content = {"csv": f"id,text\n1,{text}\n", "txt": text, "jsonl": f'{{"id": "1", "text": "{text}"}}\n'}[suffix]
    (tmp_path / f"a.{suffix}").write_bytes(content.encode(encoding))
    files = list_sources([str(tmp_path)], dialect=AskedDialect(encoding=encoding))
    options = resolve_columns(files, ReaderOptions())
    (batch,) = (batch for unit in plan(files, options) for batch in read_unit(unit, options))
    assert batch.documents["text"].to_pylist() == [text]


@pytest.mark.parametrize("suffix", ["csv", "txt", "jsonl"])
def test_utf16_without_a_mark_needs_its_order_of_bytes(tmp_path, suffix):
    from pipeline.corpus import plan, read_unit, resolve_columns

    (tmp_path / f"a.{suffix}").write_bytes("id,text\n1,ok\n".encode("utf-16-le"))
    (tmp_path / "b.jsonl").write_bytes('{"text": "ok"}'.encode("utf-16"))
    files = list_sources([str(tmp_path)], dialect=AskedDialect(encoding="utf-16"))
    options = resolve_columns(files, ReaderOptions())
    (batch,) = (batch for unit in plan(files, options) for batch in read_unit(unit, options))
    assert batch.documents["text"].to_pylist() == ["ok"]
    assert batch.rejects["reason"].to_pylist() == ["unreadable"]
    assert "--encoding utf-16-le" in batch.rejects["detail"][0].as_py()


def test_bytes_that_are_no_text_in_an_encoding_cost_their_row(tmp_path):
    from pipeline.corpus import plan, read_unit, resolve_columns

    (tmp_path / "a.csv").write_bytes(
        "id,text\n1,ok\n2,½".encode("utf-16-le") + b"\x00\xd8" + "x\n3,ok\n".encode("utf-16-le")
    )
    files = list_sources([str(tmp_path)], dialect=AskedDialect(encoding="utf-16-le"))
    options = resolve_columns(files, ReaderOptions())
    (batch,) = (batch for unit in plan(files, options) for batch in read_unit(unit, options))
    assert batch.documents["id"].to_pylist() == ["1", "3"]
    assert batch.rejects["reason"].to_pylist() == ["not UTF-8"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("id,text\n1,a;b\n", Dialect(",", "double")),
        ("id;text, with a comma\n1;a\n2;b,c,d\n", Dialect(";", "double")),
        ("text\none; two\nthree\n", Dialect(",", "double")),
        ("text\none; two, three\n", Dialect(ONE_COLUMN, "double")),
        ("id|text\n1|a\n", Dialect("|", "double")),
        ('id,text\n1,"a \\"b\\", c"\n', Dialect(",", "backslash")),
        ('id,text\n1,"C:\\"\n2,"a, ""b"""\n', Dialect(",", "double")),
        ("sep=;\nid;text\n1;a, b\n", Dialect(";", "double")),
        ("sep=,\nid,text\n1,a; b\n", Dialect(",", "double")),
        ("", Dialect(",", "double")),
    ],
)
def test_what_a_csv_file_shows(tmp_path, content, expected):
    (tmp_path / "a.csv").write_text(content)
    assert dialect_of(list_sources([str(tmp_path)])[0]) == expected


@pytest.mark.parametrize(
    ("content", "quoting"),
    [
        ('id\ttext\n1\t"Hello."\n', "none"),
        ('id\ttext\n1\t"Hello" he\n2\t"a ""b"""\n', "none"),
        ('id\ttext\n1\t"a\tb"\n', "double"),
        ('id\ttext\n1\t"a\nb"\n', "double"),
        ('"id"\t"text"\n"1"\t"Hello."\n', "double"),
    ],
)
def test_tabs_know_no_quoting_unless_the_file_shows_it(tmp_path, content, quoting):
    (tmp_path / "a.tsv").write_text(content)
    assert dialect_of(list_sources([str(tmp_path)])[0]) == Dialect("\t", quoting)


@given(
    st.lists(
        st.lists(st.text("ab ,;\t|\"'\\\né", min_size=1, max_size=8), min_size=2, max_size=2), min_size=1, max_size=8
    ),
    st.sampled_from([",", ";", "\t", "|"]),
)
def test_the_header_tells_the_delimiter_whatever_the_cells_hold(tmp_path_factory, rows, delimiter):
    path = written(tmp_path_factory.mktemp("d") / "a.csv", rows=rows, delimiter=delimiter)
    assert dialect_of(list_sources([str(path)])[0]).delimiter == delimiter


def test_the_usual_dialect_leaves_ids_of_slices_alone_and_another_one_is_a_changed_file():
    file = SourceFile("file:///a.csv", "csv", None, 10, "10-5")
    options = ReaderOptions("text", "id", slice_rows=256)
    usual = with_dialect(file, Dialect(",", "double"))
    assert usual == file
    assert slice_id(usual.uri, usual.version, 0, 256, options) == -6600508168869897662
    other = with_dialect(file, Dialect(";", "double", encoding="cp1252"))
    assert other.version == '10-5 {"delimiter": ";", "encoding": "cp1252"}'
    assert (other.content_version, dialect_of(other).delimiter) == ("10-5", ";")
    assert with_dialect(other, Dialect(",", "double")) == file


def test_a_file_that_was_read_before_is_read_the_same_way_and_not_opened(monkeypatch):
    monkeypatch.setattr(module, "sniff", None)
    file = SourceFile("file:///a.csv", "csv", None, 10, "10-5")
    before = with_dialect(file, Dialect(";", "double"))
    assert settle_dialects([file], AskedDialect(), {(before.uri, before.version)}) == [before]
    assert settle_dialects([file], AskedDialect(delimiter=";"), {(before.uri, before.version)}) == [before]
    assert settle_dialects([file], AskedDialect(), {(file.uri, file.version)}) == [file]
    monkeypatch.setattr(module, "sniff", lambda *_: Dialect("|", "double"))
    other = settle_dialects([file], AskedDialect(delimiter="|"), {(before.uri, before.version)})
    assert dialect_of(other[0]).delimiter == "|"
    changed = settle_dialects([replace(file, version="10-50")], AskedDialect(), {(before.uri, before.version)})
    assert dialect_of(changed[0]).delimiter == "|"


@pytest.mark.parametrize(
    "asked",
    [
        {"delimiter": ";;"},
        {"delimiter": '"'},
        {"quoting": "single"},
        *({"encoding": name} for name in ("nonsense", "base64", "punycode", "idna", "unicode_escape")),
    ],
)
def test_what_cannot_be_meant_is_refused(asked):
    with pytest.raises(UsageError, match=f"--{next(iter(asked))}"):
        AskedDialect(**asked)
