"""The local engine: processes that die or hang in every stage, and what must not outlive the driver."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import deadly
import psutil
import pytest

from pipeline import VectorTable, embed
from pipeline.columns import to_ipc
from pipeline.corpus import ReaderOptions, list_sources
from pipeline.errors import RunError, SourceError
from pipeline.flow import options
from pipeline.flow.engines import local_engine
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.rejects import KILLER

SCRIPT = Path(__file__).with_name("quiet_driver.py")


@pytest.fixture
def spec(stub_model):
    return {"model": stub_model, "max_tokens": 24, "pooling": "last"}


@pytest.fixture
def small_slices(monkeypatch):
    monkeypatch.setattr(options, "SLICE_ROWS", 4)


def poisoned(lab, path, words):
    """Twelve documents, some of which hold a deadly word: row → word; (all ids, those of harmless ones)."""
    rows = lab.documents(12, "k")
    for at, word in words.items():
        rows[at]["text"] += f" {word}"
    lab.write(path, rows)
    return {row["id"] for at, row in enumerate(rows) if at not in words}


def killers_in(table):
    rows = VectorTable.open(table).rejects().to_pylist()
    return {(row["row"], row["stage"]) for row in rows if row["reason"] == KILLER}


def descendants(pid):
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


SILENCE = 4.0
"""Seconds after which a process is taken to hang; as short as a busy machine allows."""

MATRIX = [("read", "segfault"), ("embed", "hang"), ("commit", "exit")]
"""What every run of the tests goes through; the other pairs take other ways to the same end of a pipe."""
OTHERS = [(stage, how) for stage in ("read", "embed", "commit") for how in deadly.HOW if (stage, how) not in MATRIX]


def quick_or_slow(quick, others):
    return [*(pytest.param(*each) for each in quick), *(pytest.param(*each, marks=pytest.mark.slow) for each in others)]


@pytest.mark.parametrize(("stage", "how"), quick_or_slow(MATRIX, OTHERS))
def test_a_document_that_ends_its_process_is_quarantined(lab, stub, local, spec, small_slices, tmp_path, stage, how):
    source, table = tmp_path / "killers.parquet", str(tmp_path / "lake" / "docs")
    local._max_silence = SILENCE if how == "hang" else local._max_silence
    harmless = poisoned(lab, source, {5: deadly.WORDS[stage]})
    report = embed(str(source), table, spec, engine=stub.planted(deadly.deadly(local, how)))
    assert killers_in(table) == {(5, stage)}
    assert set(lab.stored(table)) == harmless
    assert (report.documents, report.table_rejects) == (11, 1)
    assert embed(str(source), table).nothing_to_do


@pytest.mark.parametrize("how", quick_or_slow([["kill"]], [["segfault"], ["exit"], ["hang"]]))
def test_a_text_that_ends_the_calibration_is_left_out_of_it(lab, stub, local, spec, tmp_path, how):
    source, table = tmp_path / "killers.parquet", str(tmp_path / "lake" / "docs")
    poisoned(lab, source, {5: deadly.WORDS["calibration"]})
    local._max_silence = SILENCE if how == "hang" else local._max_silence
    report = embed(str(source), table, spec, engine=stub.planted(deadly.deadly(local, how)))
    assert (report.documents, report.table_rejects) == (12, 0)
    assert VectorTable.open(table).calibration.sample_size < 2048


def test_a_replica_that_can_never_be_built_stops_the_run(lab, local, spec, tmp_path):
    source = str(lab.write(tmp_path / "a.jsonl", lab.documents(3)))
    with pytest.raises(RunError, match="died 3 times while the model was being loaded") as caught:
        embed(source, str(tmp_path / "lake" / "docs"), spec, engine=deadly.unbuildable(local))
    assert "\n" not in str(caught.value)
    assert not Path(tmp_path / "lake" / "docs.lance").exists()


def test_processes_die_with_a_driver_that_is_killed_and_the_next_run_goes_on(lab, spec, stub, tmp_path):
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    lab.write(corpus / "a.parquet", lab.documents(120, "a"))
    driver = started(lab, tmp_path, table, corpus, "--pause", 0.2)
    wait_for_rows(lab, driver, table)
    workers = descendants(driver.pid)
    assert len(workers) == 2  # a reader and a replica
    driver.kill()
    driver.wait()
    deadline = time.monotonic() + 5
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in workers):
        assert time.monotonic() < deadline, "a worker outlived its driver"
        time.sleep(0.05)
    committed = lab.stored(table)
    assert 0 < len(committed) < 120
    second = started(lab, tmp_path, table, corpus)
    assert second.wait(120) == 0
    assert set(lab.stored(table)) == {row["id"] for row in lab.documents(120, "a")}
    assert VectorTable.open(table).runs()["status"].to_pylist() == ["interrupted", "finished"]


def started(lab, tmp_path, table, corpus, *more):
    script = Path(__file__).parents[1] / "stub_driver.py"
    command = [sys.executable, script, table, corpus, "--engine", "local", *more]
    return subprocess.Popen(
        [str(word) for word in command],
        env=lab.environment(tmp_path / "home"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for_rows(lab, driver, table):
    deadline = time.monotonic() + 120
    while not lab.rows_in(table):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_neither_driver_nor_workers_import_ray(lab, spec, tmp_path):
    source = lab.write(tmp_path / "a.jsonl", lab.documents(20))
    command = [sys.executable, str(SCRIPT), str(source), str(tmp_path / "lake" / "docs"), spec["model"]]
    done = subprocess.run(
        command, env=lab.environment(tmp_path / "home"), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["20", "driver:False", "worker:False"]


def test_what_is_in_flight_is_bounded_by_units(lab, stub, local, tmp_path):
    """While the driver takes nothing out, only a few units are planned, however many there are."""
    rows = 4 * 40
    lab.write(tmp_path / "a.parquet", lab.documents(rows))
    planned = []
    sized, stages = lab_stages(stub, tmp_path, planned)
    parcels = local.parcels(sized, stages)
    next(parcels)
    time.sleep(1.0)
    assert len(planned) <= 2 + local_engine.MAX_WAITING_PARCELS
    assert 1 + sum(1 for _ in parcels) == len(planned) == 40


class Counted:
    """A plan that notes how much of it was drawn."""

    def __init__(self, plan, planned):
        self.plan, self.planned = plan, planned

    def __iter__(self):
        for unit in self.plan:
            self.planned.append(unit)
            yield unit


def lab_stages(stub, folder, planned):
    """Forty units of four rows each, and stages that write nothing."""
    import numpy as np
    import pyarrow as pa

    from pipeline.flow.plan import Plan, SizedPlan
    from pipeline.flow.stages import ReadStage, Stages
    from pipeline.models import resolve_spec

    model = stub.checkpoint(folder / "model", ["orbit", "rocket"])
    spec, meaning, _ = resolve_spec(model)
    reader = ReaderOptions(text="text", id="id", slice_rows=4)
    plan = Plan(tuple(list_sources([str(folder / "a.parquet")])), reader, np.empty(0, np.int64), unit_rows=4)
    read = ReadStage(spec=spec, options=reader, keep=pa.schema([]), done=plan.done)
    calibration = stub.StubEncoder(None)
    calibration.calibrated(["a", "b"])
    encoder = stub.StubPlan(spec, meaning, "cpu", None, to_ipc(calibration.calibration.to_arrow()))
    sized = SizedPlan(Counted(plan, planned), 40, 160)
    return sized, Stages(read=read, encoder=encoder, write=deadly.NoWrite(None))


def test_results_come_as_they_are_done_and_errors_as_they_are(local):
    assert sorted(local.map(deadly.squared, range(6))) == [0, 1, 4, 9, 16, 25]
    with pytest.raises(SourceError, match="not this one"):
        list(local.map(deadly.refuse, [1]))
    with pytest.raises(RunError, match="a worker failed with EOFError"):
        list(local.map(deadly.end_of_file, [1]))
    with pytest.raises(RunError, match="ZeroDivisionError"):
        list(local.map(deadly.divide, [0]))
    with pytest.raises(RunError, match=r"died 3 times in a row \(SIGKILL\)"):
        list(local.map(deadly.end, [1]))
    assert list(local.map(deadly.squared, [])) == []


def test_an_engine_that_has_stopped_leaves_no_process(lab, stub, spec, tmp_path):
    source = lab.write(tmp_path / "a.jsonl", lab.documents(20))
    before = set(descendants(psutil.Process().pid))
    engine = LocalEngine()
    engine.replica_modules = ()
    embed(str(source), str(tmp_path / "lake" / "docs"), spec, engine=stub.planted(engine), limit=1)
    assert set(descendants(psutil.Process().pid)) <= before


def test_workers_are_the_first_to_go_when_memory_ends(local):
    (score,) = local.map(deadly.oom_score, [0])
    assert score == "1000"


def test_several_replicas_share_the_work(lab, stub, spec, small_slices, monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.flow.plan.MAX_ROWS", 4)
    source, table = lab.write(tmp_path / "a.parquet", lab.documents(60)), str(tmp_path / "lake" / "docs")
    engine = LocalEngine(local_engine.Replicas(1, 2))
    engine.replica_modules = ()
    seen = set()

    def look():
        while not ended.wait(0.05):
            seen.add(len(descendants(psutil.Process().pid)))

    ended = threading.Event()
    thread = threading.Thread(target=look)
    thread.start()
    report = embed(str(source), table, spec, engine=stub.planted(engine, 0.02))
    ended.set()
    thread.join()
    assert report.documents == 60
    assert max(seen) >= 3  # a reader and two replicas


def test_options_of_a_stage_travel_with_it(lab, stub, local, spec, tmp_path):
    source, table = lab.write(tmp_path / "a.parquet", lab.documents(30)), str(tmp_path / "lake" / "docs")
    embed(str(source), table, spec, engine=stub.planted(local), keep="theme", with_text=False)
    rows = lab.stored(table)
    assert {row["theme"] for row in rows.values()} == set(lab.THEMES)
    assert "text" not in next(iter(rows.values()))
