"""What cannot work is refused with one clear line before an engine starts, and leaves nothing behind."""

from __future__ import annotations

import pytest

from pipeline import embed
from pipeline.errors import ModelError, RunError, SourceError, TableError, UsageError
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.cluster import unwrapped


@pytest.fixture(autouse=True)
def no_engine(monkeypatch):
    """No refusal may need an engine."""
    monkeypatch.setattr("pipeline.flow.embed.choose_engine", None)


@pytest.fixture
def good(lab, tmp_path):
    return str(lab.write(tmp_path / "good.jsonl", lab.documents(3)))


def refuse(error, match, source, table, **options):
    with pytest.raises(error, match=match) as caught:
        embed(source, str(table), options.pop("spec", None), **options)
    assert "\n" not in str(caught.value)


def test_a_path_that_does_not_exist(tmp_path):
    refuse(SourceError, "nowhere: no such file or directory", str(tmp_path / "nowhere"), tmp_path / "lake" / "docs")
    assert not (tmp_path / "lake").exists()


def test_a_glob_that_matches_nothing(tmp_path):
    refuse(SourceError, r"\*\.parquet", str(tmp_path / "*.parquet"), tmp_path / "lake" / "docs")
    assert not (tmp_path / "lake").exists()


def test_a_directory_without_readable_files(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "picture.png").write_bytes(b"\x89PNG")
    refuse(SourceError, r"no readable file .* \.parquet, .*\.gz", str(tmp_path / "in"), tmp_path / "lake" / "docs")
    assert not (tmp_path / "lake").exists()


def test_nothing_but_corrupt_files(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.parquet").write_bytes(b"PAR1 broken")
    refuse(SourceError, r"x\.parquet cannot be read: ArrowInvalid", str(tmp_path / "in"), tmp_path / "lake" / "docs")
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("option", ["text", "id", "keep"])
def test_a_column_that_is_not_there(tmp_path, good, option):
    value = ("author",) if option == "keep" else "author"
    refuse(SourceError, r"'author'.*there are: id, text, theme", good, tmp_path / "lake" / "docs", **{option: value})
    assert not (tmp_path / "lake").exists()


def test_no_column_that_could_be_the_text(lab, tmp_path):
    source = lab.write(tmp_path / "x.jsonl", [{"title": "a", "words": "b"}])
    refuse(SourceError, "which column holds the text.*title, words", str(source), tmp_path / "lake" / "docs")
    assert not (tmp_path / "lake").exists()


def test_a_table_below_a_file(tmp_path, good):
    (tmp_path / "file").write_text("in the way")
    refuse(TableError, r"file/docs", good, tmp_path / "file" / "docs")
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_table_in_a_store_that_does_not_exist(good):
    refuse(TableError, "nosuch://bucket/docs", good, "nosuch://bucket/docs")


def test_a_table_without_a_name(tmp_path, good):
    refuse(UsageError, "names no table", good, f"{tmp_path}/no name!")


def test_a_model_that_does_not_exist(tmp_path, good):
    spec = {"model": str(tmp_path / "model")}
    refuse(ModelError, "no such directory", good, tmp_path / "lake" / "docs", spec=spec)
    assert not (tmp_path / "lake").exists()


def test_an_option_that_does_not_exist(tmp_path, good):
    with pytest.raises(UsageError, match="colour: there is no such option; there are: text, "):
        embed(good, str(tmp_path / "lake" / "docs"), colour="red")


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        (2, (2, 2)),
        ("3", (3, 3)),
        ("1:4", (1, 4)),
        ((1, 2), (1, 2)),
    ],
)
def test_replicas(given, bounds):
    parsed = Replicas.parse(given)
    assert (parsed.least, parsed.most) == bounds
    assert Replicas.parse(parsed) is parsed
    assert Replicas.parse(None) is None


@pytest.mark.parametrize("given", ["0", 0, "2:1", "1:2:3", "many", "", (0, 1), "-1"])
def test_replicas_that_mean_nothing(given):
    with pytest.raises(UsageError, match="give N or MIN:MAX"):
        Replicas.parse(given)


def test_errors_of_workers_are_found_in_their_wrapping():
    inner = ModelError("no routers in this model")
    outer = RuntimeError("task failed")
    outer.cause = ValueError("in between")
    outer.cause.__cause__ = inner
    found = unwrapped(outer)
    assert (type(found), str(found)) == (type(inner), str(inner))
    lost = unwrapped(ValueError("Traceback ...\nValueError: the last line"))
    assert isinstance(lost, RunError)
    assert "ValueError: the last line" in str(lost)
    assert "\n" not in str(lost)
