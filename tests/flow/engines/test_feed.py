"""Promise 7: memory and what is staged stay bounded by what is in flight, not by the corpus. A driver of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import ReaderOptions, list_sources
from pipeline.flow.engines.feed import Feed, Gate, PlanStage
from pipeline.flow.plan import LARGE_BYTES, MAX_BYTES, MAX_ROWS, Plan, SizedPlan

STORE, TIMES, TEXT = 80 << 20, 20, 16_000
STAGED = 65_536 // 256 + 72 + 8
"""Files of 256 rows that may wait for a commit: what makes one due, the feed's width, a few in the making."""

DRIVER = Path(__file__).parents[1] / "bounded_driver.py"


@pytest.fixture
def plan(lab, tmp_path):
    lab.write(tmp_path / "a.parquet", lab.documents(40))
    return Plan(tuple(list_sources([str(tmp_path)])), ReaderOptions("text", slice_rows=4), np.empty(0, np.int64))


def test_the_gate_lets_in_as_much_as_was_taken_out():
    async def scenario():
        gate = Gate(3)
        assert await gate.wait(2) == 3
        waiting = asyncio.create_task(gate.wait(3))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        await gate.release(2)
        assert await waiting == 5
        await gate.release(1)  # an older message that was overtaken
        assert await gate.wait(4) == 5

    asyncio.run(scenario())


def test_a_gate_that_has_never_heard_anything_lets_in_one_at_a_time():
    async def scenario():
        gate = Gate(1, patience=0.01)
        assert await gate.wait(1) == 2
        assert await gate.wait(2) == 3
        await gate.release(1)
        waiting = asyncio.create_task(gate.wait(3))
        await asyncio.sleep(0.1)  # ten times its patience: the units are slow, and as many as may are on their way
        assert not waiting.done()
        await gate.release(3)
        assert await waiting == 4

    asyncio.run(scenario())


def test_a_plan_is_the_same_each_time_and_in_the_graph(plan, monkeypatch):
    units = [unit.to_json() for unit in plan]
    assert [unit.to_json() for unit in plan] == units
    stage = PlanStage(plan, width=100, gate=None)
    assert [block.column("unit")[0].as_py() for block in stage(pa.table({}))] == units
    sized = SizedPlan.of(plan)
    assert (sized.units, sized.rows) == (1, 40)
    assert Feed.of(sized, width=100)._gate is None


def test_a_limit_ends_the_plan(plan):
    small = Plan(plan.files, plan.options, plan.done, limit=6)
    assert sum(unit.rows for unit in small) == 8
    assert small.size().rows == 8
    assert small.unlimited().size().rows == 40
    assert len(list(islice(plan, 1))) == 1


@pytest.mark.parametrize(
    ("rows", "quick", "unit"),
    [(40, False, 256), (16_384, False, 256), (40_000, False, 625), (40_000, True, 1024), (10**7, True, 4096)],
)
def test_units_are_as_large_as_the_corpus_bears(plan, rows, quick, unit):
    fitted = plan.fitted(rows, quick=quick)
    assert fitted.max_rows == unit
    assert fitted.max_bytes == (MAX_BYTES if unit <= MAX_ROWS else LARGE_BYTES)
    assert [slice_ for each in fitted for slice_ in each.slices] == [slice_ for each in plan for slice_ in each.slices]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.cluster
@pytest.mark.parametrize("engine", ["ray", "local"])
def test_a_corpus_many_times_the_object_store_passes_with_flat_memory(lab, tmp_path, engine):
    """Twenty times what the object store holds; four times the corpus takes no more of the driver or the disk."""
    shares = ("part", 0.25), ("whole", 1.0)
    small, large = (measured(lab, tmp_path / name, share, engine) for name, share in shares)
    assert small["documents"] * 4 == large["documents"]
    assert large["driver"] <= 1.1 * small["driver"], (small, large)
    assert large["staged"] <= STAGED, (small, large)
    assert large["spilled"] == 0, (small, large)


def measured(lab, folder, share, engine):
    """What a run over so much of the corpus took, at most, at any time."""
    rows = int(4 * share) * int(TIMES * STORE / TEXT / 32)
    random = np.random.default_rng(0)
    (folder / "corpus").mkdir(parents=True)
    for number in range(8):
        texts = [random.bytes(TEXT // 2).hex() for _ in range(rows)]
        table = pa.table({"id": [f"{number}-{row}" for row in range(len(texts))], "text": texts})
        pq.write_table(table, folder / "corpus" / f"{number}.parquet", row_group_size=512, compression="zstd")
    command = [sys.executable, str(DRIVER), str(folder / "corpus"), str(folder / "lake" / "docs"), str(STORE), engine]
    environment = {**lab.environment(folder / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
