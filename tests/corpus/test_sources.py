from __future__ import annotations

import os

import lance
import pyarrow as pa
import pytest

from pipeline.corpus import SourceFile, list_sources
from pipeline.errors import SourceError


@pytest.fixture
def tree(tmp_path):
    for name in (
        "a.parquet",
        "b.jsonl.gz",
        "sub/c.csv",
        "sub/deep/d.txt.zst",
        "sub/e.png",
        "sub/f.parquet.gz",
        ".git/g.txt",
        "_SUCCESS.txt",
        "sub/.h.md",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    lance.write_dataset(pa.table({"text": ["a"]}), tmp_path / "sub" / "t.lance")
    return tmp_path


def names(files):
    return [file.name for file in files]


def test_a_directory_is_walked_without_hidden_and_unreadable_files(tree):
    files = list_sources([str(tree)])
    assert names(files) == ["a.parquet", "b.jsonl.gz", "c.csv", "d.txt.zst", "t.lance"]
    assert [(file.format, file.compression) for file in files] == [
        ("parquet", None),
        ("jsonl", "gzip"),
        ("csv", None),
        ("text", "zstd"),
        ("lance", None),
    ]


def test_uris_are_canonical_sorted_and_distinct(tree, monkeypatch):
    monkeypatch.chdir(tree)
    files = list_sources(["sub/../b.jsonl.gz", "a.parquet", f"file://{tree}/a.parquet", "*.parquet"])
    assert [file.uri for file in files] == [f"file://{tree}/a.parquet", f"file://{tree}/b.jsonl.gz"]


def test_globs_reach_into_folders_and_lance_directories(tree):
    assert names(list_sources([f"{tree}/**/*.csv"])) == ["c.csv"]
    assert names(list_sources([f"{tree}/sub/*"])) == ["c.csv", "t.lance"]
    assert names(list_sources([f"{tree}/sub/t.lance"])) == ["t.lance"]


def test_a_version_changes_with_the_content(tree):
    (before,) = list_sources([f"{tree}/a.parquet"])
    os.utime(tree / "a.parquet", ns=(1, 1))
    (after,) = list_sources([f"{tree}/a.parquet"])
    assert before.version != after.version == "1-1"
    (first,) = list_sources([f"{tree}/sub/t.lance"])
    lance.write_dataset(pa.table({"text": ["b"]}), tree / "sub" / "t.lance", mode="append")
    (second,) = list_sources([f"{tree}/sub/t.lance"])
    assert (first.version[:2], second.version[:2]) == ("1-", "2-")


def test_a_lance_directory_made_anew_has_another_version(tmp_path):
    versions = []
    for _ in range(2):
        lance.write_dataset(pa.table({"text": ["a"]}), tmp_path / "new.lance")
        versions.append(list_sources([str(tmp_path)])[0].version)
        (tmp_path / "new.lance").rename(tmp_path / f"_old{len(versions)}")
    assert versions[0] != versions[1]


def test_links_are_followed_and_broken_ones_left_out(tree):
    (tree / "link.txt").symlink_to(tree / "sub" / "c.csv")
    (tree / "broken.txt").symlink_to(tree / "nothing")
    assert "link.txt" in names(list_sources([str(tree)]))
    assert "broken.txt" not in names(list_sources([str(tree)]))


def test_odd_names_survive(tmp_path):
    for name in ("a b#%25.txt", "ä[1].txt", "back\\slash.txt"):
        (tmp_path / name).write_text(name)
    assert len(list_sources([str(tmp_path)])) == 3
    assert names(list_sources([f"{tmp_path}/ä[1].txt"])) == ["ä[1].txt"]


def test_a_name_that_is_not_utf8_is_left_out_with_a_warning(tmp_path, caplog):
    try:
        (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system takes no such name")
    (tmp_path / "good.txt").write_text("x")
    assert names(list_sources([str(tmp_path)])) == ["good.txt"]
    assert "not UTF-8" in caplog.text


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("nowhere", "no such file"),
        ("nowhere/*.txt", "no file matches"),
        ("pictures", r"no readable file in this directory; readable are: \.parquet"),
        ("pictures/*.png", "no readable file in this glob"),
        ("pictures/a.png", "not a format"),
        ("empty", "no readable file"),
        ("nosuch://x/y", "nosuch"),
        ("  ", "empty SOURCE"),
    ],
)
def test_what_cannot_be_listed_is_said_in_one_line(tmp_path, monkeypatch, source, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    with pytest.raises(SourceError, match=says) as caught:
        list_sources([source])
    assert "\n" not in str(caught.value)


def test_a_source_survives_json():
    file = SourceFile("file:///a.txt.gz", "text", "gzip", 3, "3-4")
    assert SourceFile(**file.to_json()) == file
