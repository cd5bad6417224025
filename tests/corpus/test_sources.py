from __future__ import annotations

import os

import lance
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.corpus import ReaderOptions, SourceFile, list_sources, plan, read_unit
from pipeline.corpus.passed_over import (
    BROKEN_LINK,
    HIDDEN,
    LOOP,
    NO_FILE,
    NO_SUFFIX,
    TABLE,
    by_reason,
    described,
    kind_of,
)
from pipeline.corpus.sources import look_through
from pipeline.corpus.unchanged import exists, has_changed
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


def test_globs_pass_over_what_is_hidden_unless_they_ask_for_it(tree):
    listing = look_through([f"{tree}/**"])
    assert names(listing.files) == names(list_sources([str(tree)]))
    assert by_reason(listing.passed_over)[HIDDEN] == 3
    assert names(list_sources([f"{tree}/.git/*"])) == names(list_sources([f"{tree}/.g*/*.txt"])) == ["g.txt"]
    assert names(list_sources([f"{tree}/**/.*.md"])) == [".h.md"]


def test_a_glob_finds_linked_files_and_tables_and_tells_what_other_links_are(tree):
    links = tree / "links"
    links.mkdir()
    for name, target in (
        ("t.lance", "../sub/t.lance"),
        ("a.parquet", "../a.parquet"),
        ("b", "../sub"),
        ("c.txt", "no"),
    ):
        (links / name).symlink_to(target)
    listing = look_through([f"{links}/*"])
    assert names(listing.files) == ["a.parquet", "t.lance"]
    assert by_reason(listing.passed_over) == {"folder that the glob does not enter": 1, BROKEN_LINK: 1}
    listing = look_through([f"{tree}/**/*.csv"])
    assert names(listing.files) == ["c.csv"]
    assert listing.passed_over == {f"{links.as_uri()}/b": "folder that the glob does not enter"}


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


def test_a_linked_folder_is_followed_once_and_never_back(tmp_path):
    for name in ("src/a.txt", "src/z/own.txt", "elsewhere/b.txt", "elsewhere/deep/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    lance.write_dataset(pa.table({"text": ["a"]}), tmp_path / "elsewhere.lance")
    src = tmp_path / "src"
    links = {
        "crawl": "elsewhere",
        "twin": "elsewhere",
        "y": "src/z",
        "up": "src",
        "top": ".",
        "t.lance": "elsewhere.lance",
    }
    for name, target in links.items():
        (src / name).symlink_to(tmp_path / target)
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "elsewhere")
    (src / "broken").symlink_to(tmp_path / "nothing")
    listing = look_through([str(src)])
    found = ["a.txt", "crawl/b.txt", "crawl/deep/c.txt", "t.lance", "z/own.txt"]
    assert [file.uri.removeprefix(f"{src.as_uri()}/") for file in listing.files] == found
    why = {uri.removeprefix(f"{src.as_uri()}/"): reason for uri, reason in listing.passed_over.items()}
    assert why == {"up": LOOP, "top": LOOP, "crawl/loop": LOOP, "broken": BROKEN_LINK}


def test_what_is_passed_over_is_told(tree):
    os.mkfifo(tree / "pipe.txt")
    (tree / "part-00000").write_text("x")
    (tree / "sub" / "page.html.gz").write_text("x")
    listing = look_through([str(tree), f"{tree}/*", str(tree / "sub")])
    told = {".html.gz": 1, ".png": 1, ".parquet.gz": 1, NO_SUFFIX: 1, HIDDEN: 3, NO_FILE: 1}
    assert by_reason(look_through([str(tree)]).passed_over) == told
    assert by_reason(listing.passed_over) == told | {"folder that the glob does not enter": 1}
    assert look_through([str(tree), f"{tree}/.git/g.txt"]).passed_over.keys() >= {f"{tree.as_uri()}/.git"}


def test_embeddings_below_a_source_are_passed_over_unless_they_are_named(tree):
    table = f"{tree}/sub/t.lance"
    listing = look_through([str(tree)], is_table=lambda uri: uri == f"file://{table}")
    assert listing.passed_over[f"file://{table}"] == TABLE
    assert len(look_through([table], is_table=lambda _: True).files) == 1


def test_what_is_passed_over_in_words():
    assert described({}) == ""
    assert described({".html": 2}) == "2 files (.html)"
    counts = {".html": 2, ".pdf": 1, NO_SUFFIX: 1, HIDDEN: 2, LOOP: 1, BROKEN_LINK: 2}
    assert described(counts) == (
        "4 files (2 .html, .pdf, no suffix), 2 hidden, 2 broken links, 1 link to a folder that holds it"
    )
    many = {f".x{number}": 1 for number in range(1, 13)}
    assert described(many) == "12 files (.x1, .x10, .x11, .x12, .x2, .x3, .x4, .x5, 4 more kinds)"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.PDF", ".pdf"),
        ("a.html.gz", ".html.gz"),
        ("a.gz", ".gz"),
        ("Dr. No", NO_SUFFIX),
        (".x", NO_SUFFIX),
        ("a.", NO_SUFFIX),
    ],
)
def test_a_kind_of_file_is_its_suffix(name, kind):
    assert kind_of(name, {".gz"}) == kind


ODD = st.sampled_from("ab:*?[]!{}#%20&=+~$@;'\"\\ \n")
NAMES = st.text(ODD | st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES.filter(lambda name: name[0] not in "._"), folder=st.booleans())
def test_a_name_is_a_name(tmp_path, name, folder):
    """Whatever stands in it: the file is listed, named alone, read, and looked at again under that very name."""
    path = tmp_path / f"{name}" / "a.txt" if folder else tmp_path / f"{name}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text("the text")
    try:
        uri = f"file://{path}"
        assert [file.uri for file in list_sources([str(tmp_path)])] == [uri]
        (file,) = list_sources([str(path)])
        assert file.uri == uri
        assert list_sources([str(path.parent)]) == [file]
        assert exists(uri)
        assert not has_changed(file)
        options = ReaderOptions("text")
        (batch,) = [batch for unit in plan([file], options) for batch in read_unit(unit, options)]
        assert batch.documents["source"].to_pylist() == [uri]
        path.write_text("another text")
        assert has_changed(file)
    finally:
        path.unlink()
        if folder:
            path.parent.rmdir()


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
        ("pictures", r"no readable file in this directory \(not read: 1 file \(\.png\)\); readable are: \.parquet"),
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
