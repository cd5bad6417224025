"""Which files are gone, and only those below the sources."""

from __future__ import annotations

import pytest

from pipeline.corpus import list_sources
from pipeline.corpus.missing import missing_files


@pytest.fixture
def folder(tmp_path):
    for name in ("in/a.jsonl", "in/deep/b.jsonl", "in/_hidden.jsonl", "inside.jsonl", "in/c.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}", encoding="utf-8")
    return tmp_path


def gone(folder, source, *removed):
    known = [path.as_uri() for path in folder.rglob("*") if path.is_file()]
    for name in removed:
        (folder / name).unlink()
    listed = [file.uri for file in list_sources([str(source)])]
    return [uri.removeprefix(f"{folder.as_uri()}/") for uri in missing_files(known, listed, [str(source)])]


def test_below_a_directory(folder):
    assert gone(folder, folder / "in", "in/a.jsonl", "in/deep/b.jsonl", "inside.jsonl") == [
        "in/a.jsonl",
        "in/deep/b.jsonl",
    ]


def test_what_exists_but_is_not_listed_is_not_gone(folder):
    assert gone(folder, folder / "in") == []


def test_below_a_glob(folder):
    (folder / "in" / "z.jsonl").write_text("{}", encoding="utf-8")
    assert gone(folder, folder / "in" / "*.jsonl", "in/a.jsonl", "in/c.parquet", "in/deep/b.jsonl") == ["in/a.jsonl"]
    assert gone(folder, folder / "in" / "**" / "*.jsonl") == []


def test_below_a_file_is_nothing(folder):
    assert gone(folder, folder / "inside.jsonl", "in/a.jsonl") == []


def test_a_file_url_and_a_relative_path_are_the_same_place(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert gone(folder, f"file://{folder}/in/", "in/a.jsonl") == ["in/a.jsonl"]
    assert gone(folder, "./in", "in/deep/b.jsonl") == ["in/deep/b.jsonl"]
