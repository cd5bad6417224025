"""Promise 2, exactly once, through the whole job: driver and Ray are killed half-way, then the command runs again."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import lance
import pyarrow.compute as pc
import pytest

from pipeline import VectorTable, embed
from pipeline.errors import TableNotFoundError
from pipeline.rejects import KILLED_ONCE, KILLER
from pipeline.table.companions.journal import read_journal

pytestmark = pytest.mark.cluster

DRIVER = Path(__file__).with_name("slow_driver.py")
ROWS = 240


@pytest.fixture
def driver(lab, tmp_path):
    """The slow driver as a process in a session of its own, with a Ray cluster of its own."""
    started = []

    def start(corpus, table, *more):
        command = [sys.executable, str(DRIVER), str(corpus), table, "ray", *map(str, more)]
        process = subprocess.Popen(
            command,
            env=lab.environment(tmp_path / "home"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        kill_with_children(process)
        process.stderr.close()


def test_a_run_killed_half_way_is_finished_by_the_next(ray_cluster, lab, driver, tmp_path):
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    lab.write(corpus / "a.parquet", lab.documents(ROWS // 2, "a"))
    empty = {"id": "b-empty", "text": " ", "theme": "none"}
    lab.write(corpus / "b.jsonl", [empty, *lab.documents(ROWS // 2, "b"), lab.documents(1, "a")[0]])

    process = driver(corpus, table)
    wait_for_commit(lab, process, table)
    assert kill_with_children(process) > 3  # the driver, GCS, raylet, workers
    committed = lab.stored(table)
    assert 0 < len(committed) < ROWS, "the kill came too late to be in the middle"
    assert VectorTable.open(table).runs()["status"].to_pylist() == ["interrupted"]

    report = embed(str(corpus), table)
    rows = lab.stored(table)
    assert report.documents == ROWS - len(committed)
    assert set(rows) == {row["id"] for name in "ab" for row in lab.documents(ROWS // 2, name)}
    assert {name: rows[name] for name in committed} == committed
    rejects = VectorTable.open(table).rejects().to_pylist()
    assert sorted((row["id"], row["reason"]) for row in rejects) == [("a-0", "duplicate id"), ("b-empty", "empty")]
    assert embed(str(corpus), table).nothing_to_do
    assert VectorTable.open(table).runs()["status"].to_pylist() == ["interrupted", "finished"]
    assert not lab.old_orphans(table)


@pytest.mark.slow
def test_a_run_killed_in_the_middle_of_a_changed_file_goes_on_there(ray_cluster, lab, driver, tmp_path):
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    lab.write(corpus / "a.parquet", lab.documents(24, "old"))
    first = driver(corpus, table)
    first.wait(200)
    assert first.returncode == 0, first.stderr.read().decode()
    before = lab.stored(table)

    lab.write(corpus / "a.parquet", lab.documents(ROWS, "new"))
    process = driver(corpus, table)
    deadline = time.monotonic() + 180
    while not read_journal(VectorTable.open(table).location).num_rows:
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kill_with_children(process)
    assert lab.stored(table) == before, "no moment with both or neither"
    assert read_journal(VectorTable.open(table).location).num_rows < ROWS // 8, "the kill came too late"

    report = embed(str(corpus), table)
    assert set(lab.stored(table)) == {row["id"] for row in lab.documents(ROWS, "new")}
    assert report.replaced_rows == len(before)
    embedded = lance.dataset(f"{table}.lance").to_table(columns=["n_tokens"]).column("n_tokens")
    assert report.tokens < pc.sum(embedded).as_py(), "what the journal held was not embedded again"
    assert embed(str(corpus), table).nothing_to_do
    assert not read_journal(VectorTable.open(table).location).num_rows
    assert not lab.old_orphans(table)


@pytest.mark.slow
def test_a_run_killed_while_it_hunts_for_a_deadly_document_goes_on_hunting(lab, driver, tmp_path):
    corpus, table, deaths = tmp_path / "corpus", str(tmp_path / "lake" / "docs"), tmp_path / "deaths"
    rows = lab.documents(24, "a")
    rows[11]["text"] += " xxpoison"
    lab.write(corpus / "a.parquet", rows)
    process = driver(corpus, table, deaths)
    deadline = time.monotonic() + 240
    while KILLED_ONCE not in reasons(table):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kill_with_children(process)
    assert reasons(table) == [KILLED_ONCE]
    before = len(deaths.read_text().split())

    second = driver(corpus, table, deaths)
    second.wait(240)
    assert second.returncode == 0, second.stderr.read().decode()
    assert len(deaths.read_text().split()) == before + 1, "the hunt began anew"
    assert reasons(table) == [KILLER]
    assert set(lab.stored(table)) == {f"a-{row}" for row in range(24) if row != 11}
    assert not lab.old_orphans(table)


def reasons(table):
    try:
        return VectorTable.open(table).rejects()["reason"].to_pylist()
    except TableNotFoundError:
        return []


def wait_for_commit(lab, process, table):
    """Until the table has rows."""
    deadline = time.monotonic() + 180
    while not lab.rows_in(table):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def kill_with_children(process):
    """SIGKILL for a process and all that descend from it, at once; how many there were."""
    import psutil

    if process.poll() is not None:
        return 0
    top = psutil.Process(process.pid)
    top.suspend()  # so that it starts no more
    family = [*top.children(recursive=True), top]
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)
    process.wait(timeout=30)
    return len(family)
