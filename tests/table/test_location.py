from __future__ import annotations

import pytest

from pipeline.errors import TableError, UsageError
from pipeline.table.location import TableLocation
from pipeline.table.store import short_reason


@pytest.mark.parametrize(
    ("uri", "directory", "name"),
    [
        ("/data/lake/docs", "/data/lake", "docs"),
        ("/data/lake/docs.lance/", "/data/lake", "docs"),
        ("file:///data/my%20lake/docs", "/data/my lake", "docs"),
        ("/docs", "/", "docs"),
        ("gs://bucket/lake/a.b-c_1", "gs://bucket/lake", "a.b-c_1"),
        ("s3://bucket/docs", "s3://bucket", "docs"),
    ],
)
def test_parse(uri, directory, name):
    location = TableLocation.parse(uri)
    assert (location.directory, location.name) == (directory, name)
    assert location.uri == f"{directory.rstrip('/')}/{name}.lance"
    assert location.sibling("rejects").uri == f"{directory.rstrip('/')}/{name}.rejects.lance"
    assert TableLocation.parse(str(location)) == location
    assert TableLocation.parse(location) is location


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert TableLocation.parse("lake/docs").directory == str(tmp_path / "lake")
    assert TableLocation.parse("docs").directory == str(tmp_path)
    for same in (f"../{tmp_path.name}/lake/docs", f"{tmp_path}/a/../lake/docs", f"file://{tmp_path}/a/../lake/docs"):
        assert TableLocation.parse(same).directory == str(tmp_path / "lake")


@pytest.mark.parametrize("uri", ["", "/", "s3://bucket", "lake/a b", "lake/..", "lake/.hidden"])
def test_no_table_name(uri):
    with pytest.raises(UsageError, match="names no table"):
        TableLocation.parse(uri)


def test_errors_become_one_line():
    raw = "LanceError(IO): Generic S3 error: Error performing GET request: no route, /x/rust/src/a.rs:12:3\nmore"
    assert short_reason(OSError(raw)) == "no route"
    assert short_reason(OSError("")) == "OSError"


def test_a_place_that_cannot_be_written_is_found_out_without_leaving_anything(tmp_path):
    from pipeline.table.store import refuse_unwritable

    (tmp_path / "file").write_text("")
    with pytest.raises(TableError, match="cannot write to"):
        refuse_unwritable(TableLocation.parse(tmp_path / "file" / "lake" / "docs"))
    refuse_unwritable(TableLocation.parse(tmp_path / "new" / "lake" / "docs"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
