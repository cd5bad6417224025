from __future__ import annotations

import json
import time

import pytest
import slow_stages

from pipeline import VectorTable, embed
from pipeline.embedding.batches import BatchCounts
from pipeline.flow import options, plan, report
from pipeline.flow.engines.base import Pool, Replicas
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.watching.bottleneck import STAGES, bottleneck, stage_loads, stage_seconds
from pipeline.flow.watching.effort import Effort, Turns, timed
from pipeline.table import Committer


def found(effort, committing=0.0, passed=10.0, **pool):
    pool = Pool(Replicas(1, 1), None, **pool)
    seconds = stage_seconds(effort, committing)
    return bottleneck(seconds, stage_loads(seconds, effort, pool, passed), pool)


@pytest.mark.parametrize(
    ("stage", "effort", "committing"),
    [
        ("reading", Effort(reading=8, tokenizing=1, embedding=2, starving=8), 0.1),
        ("tokenizing", Effort(reading=1, tokenizing=8, embedding=2, starving=8), 0.1),
        ("replicas", Effort(reading=1, tokenizing=1, embedding=9, starving=1), 0.1),
        ("staging", Effort(reading=1, embedding=2, handing_over=7, staging=7), 0.1),
        ("commits", Effort(reading=1, embedding=2, starving=8), 8.0),
    ],
)
def test_the_stage_whose_workers_are_busiest_is_waited_for(stage, effort, committing):
    named = found(effort, committing)
    assert named.stage == stage
    assert named.advice
    assert named.load > 0.5


def test_many_workers_are_busy_for_more_seconds_than_pass():
    effort = Effort(reading=24, embedding=6, starving=4)
    assert found(effort, readers=3, writers=2).stage == "reading"
    assert found(effort, readers=8, writers=2).stage == "replicas"


def test_nothing_is_named_where_nobody_was_busy():
    assert found(Effort(reading=1, embedding=1, starving=9)) is None
    assert found(Effort(), passed=0.0) is None


def test_loads_are_shares_even_if_reading_began_before_the_clock():
    loads = stage_loads(stage_seconds(Effort(reading=50), 0.0), Effort(reading=50), Pool(Replicas(1, 1), None), 10.0)
    assert loads == dict.fromkeys(STAGES, 0.0) | {"reading": 1.0, "tokenizing": 1.0}


def test_a_replica_alone_with_a_gpu_is_told_of_more_of_them():
    assert "GPUs" in found(Effort(embedding=9), on_gpus=True).advice
    assert "a GPU" in found(Effort(embedding=9)).advice


def test_turns_are_told_apart():
    batches = BatchCounts()
    turns = Turns(batches)
    turns.begin()
    batches.count(70, 100)
    first = turns.end()
    assert (first.starving, first.handing_over) == (0.0, 0.0)
    assert (first.batches, first.fill) == (1, 0.7)
    time.sleep(0.05)
    turns.taken()
    time.sleep(0.1)
    turns.begin()
    second = turns.end()
    assert second.handing_over >= 0.05
    assert second.starving >= 0.1
    assert second.embedding < 0.05
    assert second.batches == 0


def test_time_is_counted_while_an_item_comes_and_not_while_it_is_used():
    def slowly():
        for number in range(2):
            time.sleep(0.05)
            yield number

    (_, first), _ = [(item, time.sleep(0.5))[0] for item in timed(slowly())]
    assert 0.05 <= first < 0.5


@pytest.fixture(params=["local", pytest.param("ray", marks=[pytest.mark.cluster, pytest.mark.slow])])
def engine(request):
    if request.param == "local":
        made = LocalEngine()
        made.replica_modules = ()
        return made
    from pipeline.flow.engines.ray_engine import RayEngine

    request.getfixturevalue("ray_cluster")
    return RayEngine(Replicas(1, 1))


QUICK = ("replicas", "commits")
"""The others are asked for in the slow tests."""


@pytest.mark.parametrize(
    "stage", [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in STAGES]
)
def test_a_run_says_which_stage_it_waited_for(stage, engine, lab, stub_model, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "SLICE_ROWS", 8)
    monkeypatch.setattr(plan, "MAX_ROWS", 8)
    monkeypatch.setattr(report, "MIN_RATE_SECONDS", 0.0)
    if stage == "commits":
        add = Committer.add
        monkeypatch.setattr(Committer, "add", lambda *given: (time.sleep(slow_stages.SECONDS), add(*given))[1])
    source, table = lab.write(tmp_path / "a.parquet", lab.documents(160)), str(tmp_path / "lake" / "docs")
    spec = {"model": stub_model, "max_tokens": 24, "pooling": "last"}
    done = embed(str(source), table, spec, engine=slow_stages.slowed(engine, stage))
    assert done.waited_for.stage == stage
    assert done.bottleneck().startswith(f"waited mostly for {stage} (at work ")
    (run,) = VectorTable.open(table).info()["runs"]
    assert (run["waited_for"], run["advice"]) == (stage, done.waited_for.advice)
    assert (run["rows_read"], run["documents"], run["staged_bytes"] > 0, run["deaths"]) == (160, 160, True, 0)
    assert json.loads(run["stages"])[stage]["load"] == round(done.waited_for.load, 3)
