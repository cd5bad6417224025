from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import ReaderOptions, list_sources, openings, plan, read_unit, resolve_columns
from pipeline.corpus.readers import UnreadableError, extents
from pipeline.rejects import UNREADABLE

ROOT = Path(__file__).parents[2]
PLAN = (
    "import sys; from pipeline.corpus import ReaderOptions, list_sources, plan; "
    "list(plan(list_sources([sys.argv[1]]), ReaderOptions('text', 'id')))"
)


@pytest.fixture
def temp(tmp_path, monkeypatch):
    """A temporary folder without notes."""
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.fixture
def sound(temp, tmp_path):
    """A sound file, listed."""
    (tmp_path / "in").mkdir()
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["one", "two"]}), tmp_path / "in" / "sound.parquet")
    return list_sources([str(tmp_path / "in")])[0]


def notes(temp):
    return [path for path in temp.rglob("*") if path.is_file()]


def die_while_planning(folder):
    """What a run does first, in a process that dies of it."""
    done = subprocess.run([sys.executable, "-c", PLAN, str(folder)], cwd=ROOT, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, b"histogram size mismatch" in done.stderr) == (-signal.SIGABRT, True)


def no_trial(*_):
    raise AssertionError("tried in another process")


def test_a_file_that_kills_the_planner_is_a_reject_the_next_time_until_it_is_replaced(load, temp, sound, tmp_path):
    deadly = load("corpus/deadly_footer.py").write(tmp_path / "in" / "deadly.parquet")
    die_while_planning(tmp_path / "in")
    assert len(notes(temp)) == 1
    files = list_sources([str(tmp_path / "in")])
    options = resolve_columns(files, ReaderOptions())
    batches = [batch for unit in plan(files, options) for batch in read_unit(unit, options)]
    assert [name for batch in batches for name in batch.documents["id"].to_pylist()] == ["a", "b"]
    (reject,) = (row for batch in batches for row in batch.rejects.to_pylist())
    assert (reject["source"], reject["reason"]) == (f"file://{deadly}", UNREADABLE)
    assert "SIGABRT" in reject["detail"]
    shutil.copy(tmp_path / "in" / "sound.parquet", deadly)
    assert [each.rows for each in extents(list_sources([str(deadly)])[0], options)] == [2]
    assert notes(temp) == []


def test_a_note_that_a_dead_process_left_of_a_sound_file_goes(temp, sound, monkeypatch):
    with openings.noted(sound, None):
        (note,) = notes(temp)
    assert notes(temp) == []
    note.touch()
    assert [each.rows for each in extents(sound, ReaderOptions("text"))] == [2]
    assert notes(temp) == []
    monkeypatch.setattr(openings, "_death_of", no_trial)
    assert extents(sound, ReaderOptions("text"))


def test_a_file_that_another_process_opens_right_now_is_no_suspect(temp, sound, monkeypatch):
    monkeypatch.setattr(openings, "_death_of", no_trial)
    with openings.noted(sound, None):
        (note,) = notes(temp)
        assert extents(sound, ReaderOptions("text"))
        assert note.exists()
    other = os.open(note, os.O_CREAT | os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    assert extents(sound, ReaderOptions("text"))
    os.close(other)


def test_where_no_note_can_be_written_files_are_opened_all_the_same(sound, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    assert [each.rows for each in extents(sound, ReaderOptions("text"))] == [2]


def test_trouble_other_than_a_death_is_none_of_the_trial(temp, sound):
    with openings.noted(sound, None):
        (note,) = notes(temp)
    note.touch()
    Path(sound.uri.removeprefix("file://")).write_bytes(b"PAR1 broken")
    with pytest.raises(UnreadableError, match="ArrowInvalid"):
        extents(sound, ReaderOptions("text"))
    assert notes(temp) == []


def test_without_a_temporary_folder_files_are_opened_all_the_same(sound, monkeypatch):
    def none():
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert [each.rows for each in extents(sound, ReaderOptions("text"))] == [2]
