from __future__ import annotations

import io
import json
import random
import tarfile

import pytest

from pipeline.corpus import ReaderOptions, list_sources, resolve_columns
from pipeline.errors import SourceError


def shard(*members, tar_format=tarfile.PAX_FORMAT):
    """Members (name, content); a dictionary becomes JSON."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as archive:
        for name, content in members:
            data = json.dumps(content).encode() if isinstance(content, dict) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def write(tmp_path):
    def run(data, name="a.tar"):
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return run


def test_text_beside_pictures_and_metadata(write, read):
    picture = random.Random(0).randbytes(5000)
    members = [
        (f"train/{index}.{suffix}", content)
        for index in range(3)
        for suffix, content in (
            ("jpg", picture),
            ("txt", f"caption {index}".encode()),
            ("seg.png", picture),
            ("JSON", {"width": index, "url": f"u{index}"}),
        )
    ]
    result = read(write(shard(*members)), keep=("width", "url"))
    assert result.documents.drop(["source", "slice", "row"]).to_pylist() == [
        {"id": f"train/{index}", "text": f"caption {index}", "width": index, "url": f"u{index}"} for index in range(3)
    ]


def test_text_and_id_out_of_the_json(write, read):
    path = write(shard(*((f"{index}.json", {"id": index + 10, "body": f"b{index}"}) for index in range(3))))
    assert read(path).documents["id"].to_pylist() == ["10", "11", "12"]
    assert read(path, id="__key__").documents["id"].to_pylist() == ["0", "1", "2"]
    assert read(path).documents["text"].to_pylist() == ["b0", "b1", "b2"]


def test_a_bad_sample_costs_itself_only(write, read):
    members = [
        ("0.txt", b"good"),
        ("1.jpg", b"a picture alone"),
        ("2.txt", b"\xff"),
        ("3.txt", b"x"),
        ("3.json", b"{"),
        ("4.json", b"[1]"),
        ("5.txt", b"once"),
        ("5.txt", b"twice"),
        ("6.txt", b"\xef\xbb\xbfgood too"),
        ("7.txt", b""),
        ("6.txt", b"the same name later"),
        ("8.json", {"text": 5}),
    ]
    result = read(write(shard(*members)))
    assert result.documents["text"].to_pylist() == ["good", "good too"]
    assert sorted(result.reasons) == [
        (1, "null text"),
        (2, "not UTF-8"),
        (3, "malformed row"),
        (4, "malformed row"),
        (5, "malformed row"),
        (7, "empty"),
        (8, "duplicate id"),
        (9, "malformed row"),
    ]


def test_nothing_is_unpickled_written_or_followed(tmp_path, write, read):
    class Bomb:
        def __reduce__(self):
            raise AssertionError

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind, link in (
            ("../../escape.txt", tarfile.REGTYPE, ""),
            ("/etc/absolute.txt", tarfile.REGTYPE, ""),
            ("link.txt", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard.txt", tarfile.LNKTYPE, "../../escape.txt"),
            ("device.txt", tarfile.CHRTYPE, ""),
            ("folder.txt", tarfile.DIRTYPE, ""),
            ("0.pyd", tarfile.REGTYPE, ""),
            ("0.pth", tarfile.REGTYPE, ""),
            ("0.txt", tarfile.REGTYPE, ""),
            (".hidden.txt", tarfile.REGTYPE, ""),
            ("__meta__.txt", tarfile.REGTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(b"\x80\x04N." if name.endswith(("pyd", "pth")) else b"text"))
    path = write(out.getvalue())
    before = sorted(tmp_path.rglob("*"))
    result = read(path)
    assert result.documents["id"].to_pylist() == ["../../escape", "/etc/absolute", "0"]
    assert set(result.documents["text"].to_pylist()) == {"text"}
    assert sorted(tmp_path.rglob("*")) == before
    assert not (tmp_path.parent.parent / "escape.txt").exists()


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar(write, read, tar_format):
    name = "f" * 60 + "/" + "n" * 90
    result = read(write(shard((f"{name}.txt", b"x"), tar_format=tar_format)))
    assert result.documents["id"].to_pylist() == [name]


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
@pytest.mark.parametrize("cut", [0.001, 0.3, 0.6, 0.9])
def test_samples_before_a_break_survive(tmp_path, write, read, suffix, cut):
    import gzip

    texts = [random.Random(index).randbytes(500).hex() for index in range(100)]
    members = [(f"{i:03}.{kind}", text.encode()) for i, text in enumerate(texts) for kind in ("txt", "jpg")]
    data = shard(*members)
    data = gzip.compress(data) if suffix.endswith("gz") else data
    write(data[: int(len(data) * cut)], f"b{suffix}")
    write(shard(("a.txt", b"whole")))
    result = read(tmp_path, slice_rows=16)
    found = result.documents["text"].to_pylist()[1:]
    assert found == texts[: len(found)]
    assert abs(len(found) - 100 * cut) < 6
    assert result.reasons == [(-1, "unreadable")]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:2048] + b"\xee" * 512 + data[2560:], "damaged or cut off"),
        (lambda data: data[:2048] + bytes(512) + data[2560:], "more after the end"),
        (lambda data: data + data, "more after the end"),
        (lambda data: data.rstrip(b"\0"), "cut off"),
        (lambda data: data[: 4 * 1024], "cut off"),
        (lambda data: data[:2048] + b"1.txt".ljust(124, b"\0") + b"9" * 11 + data[2183:], "damaged or cut off"),
    ],
)
def test_an_end_that_is_none_is_never_taken_for_one(write, read, damage, says):
    data = shard(*((f"{index}.txt", f"text {index}".encode()) for index in range(4)))
    result = read(write(damage(data)))
    assert result.documents["text"].to_pylist()[0] == "text 0"
    assert result.reasons == [(-1, "unreadable")]
    assert says in result.rejects["detail"][0].as_py()


def test_a_text_that_is_too_long_is_passed_without_being_held(write, read):
    long = b"x" * ((64 << 20) + 1)
    result = read(write(shard(("0.txt", b"before"), ("1.txt", long), ("2.bin", long), ("2.txt", b"after"))))
    assert result.documents["text"].to_pylist() == ["before", "after"]
    assert result.reasons == [(1, "too long")]


def test_what_is_no_tar_is_said_before_anything_is_read(write):
    path = write(b"rubbish" * 200)
    with pytest.raises(SourceError, match="damaged or cut off archive"):
        resolve_columns(list_sources([str(path)]), ReaderOptions())
