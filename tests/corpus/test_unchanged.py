"""A file that changes under its reader stands for no version."""

from __future__ import annotations

import json
import logging

import fsspec
import pytest

from pipeline.corpus import ReaderOptions, list_sources, plan, read_unit
from pipeline.corpus.unchanged import has_changed, without_changed_files

OPTIONS = ReaderOptions(text="text", id="id", slice_rows=2)


def write(path, count):
    path.write_text("".join(json.dumps({"id": f"{path.stem}{n}", "text": "t"}) + "\n" for n in range(count)))


def ids(batches):
    return [name for batch in batches for name in batch.documents.column("id").to_pylist()]


def unit_of(*paths):
    (unit,) = plan(list_sources([str(path) for path in paths]), OPTIONS)
    return unit


def test_what_was_read_of_a_changed_file_is_left_out(tmp_path, caplog):
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    write(a, 3)
    write(b, 3)
    unit = unit_of(a, b)

    def batches():
        for batch in read_unit(unit, OPTIONS):
            write(b, 5)
            yield batch

    with caplog.at_level(logging.WARNING):
        found = list(without_changed_files(batches(), unit))
    assert ids(found) == ["a0", "a1", "a2"]
    assert [record.uri for batch in found for record in batch.finished_files] == [a.as_uri()]
    assert f"{b.as_uri()} changed while it was read" in caplog.text


def test_what_came_before_the_change_stays(tmp_path):
    path = tmp_path / "a.jsonl"
    write(path, 6)
    unit = unit_of(path)
    batches = without_changed_files(read_unit(unit, OPTIONS, max_rows=2), unit)
    first = next(batches)
    write(path, 2)
    rest = list(batches)
    assert ids([first]) == ["a0", "a1"]
    assert ids(rest) == []
    assert not any(batch.finished_files for batch in rest)


@pytest.mark.parametrize("kind", ["gone", "longer", "same"])
def test_has_changed(tmp_path, kind):
    path = tmp_path / "a.jsonl"
    write(path, 3)
    (file,) = list_sources([str(tmp_path)])
    if kind == "gone":
        path.unlink()
    elif kind == "longer":
        write(path, 4)
    assert has_changed(file) is (kind != "same")


def test_a_remote_file():
    memory = fsspec.filesystem("memory")
    memory.pipe("/steady/a.jsonl", b'{"text": "one"}\n')
    (file,) = list_sources(["memory://steady"])
    assert not has_changed(file)
    memory.pipe("/steady/a.jsonl", b'{"text": "another"}\n')
    assert has_changed(file)
    memory.rm("/steady", recursive=True)
    assert has_changed(file)
