"""What `pipeline.flow` asks of Ray beyond its documented API: read this when you upgrade Ray.

Stages here die by ``os._exit``, each so many times as files in a folder say.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pyarrow as pa
import pytest

pytestmark = pytest.mark.cluster

DEATHS = 4
"""One more than Ray's own default of retries."""


def note(folder, what):
    """A file for each event; returns how many there were of this kind before."""
    before = len(list(Path(folder).glob(f"{what}.*")))
    (Path(folder) / f"{what}.{before}").touch()
    return before


def wait_for(path, seconds=60.0):
    end = time.monotonic() + seconds
    while not Path(path).exists():
        assert time.monotonic() < end, path
        time.sleep(0.05)


@pytest.fixture
def data(ray_cluster):
    """``ray.data`` under the settings of our graphs."""
    import ray

    from pipeline.flow.engines.cluster import quiet_data

    with quiet_data():
        yield ray.data


@pytest.mark.slow
def test_an_actor_of_a_pool_that_dies_comes_back_under_its_id_and_gets_the_same_batch(data, tmp_path):
    """`poison.tracker`: what dies is started again, more often than any default would, and can be told by its id."""
    import ray
    from ray.data import ActorPoolStrategy

    class Dies:
        def __init__(self):
            note(tmp_path, f"built-{ray.get_runtime_context().get_actor_id()}")

        def __call__(self, batch):
            if batch.column("item")[0].as_py() == 1 and note(tmp_path, "deaths") < DEATHS:
                os._exit(1)
            return batch

    rows = data.from_items([{"item": number} for number in range(3)], override_num_blocks=3).map_batches(
        Dies, compute=ActorPoolStrategy(size=1), batch_size=1, batch_format="pyarrow", num_cpus=0.5
    )
    assert sorted(row["item"] for row in rows.take_all()) == [0, 1, 2]
    assert len(list(tmp_path.glob("deaths.*"))) == DEATHS + 1
    assert len({path.stem for path in tmp_path.glob("built-*")}) == 1


@pytest.mark.slow
def test_a_task_that_dies_is_repeated_beyond_rays_usual_three_times(data, tmp_path):
    def dies(batch):
        if note(tmp_path, "deaths") < DEATHS:
            os._exit(1)
        return batch

    rows = data.from_items([{"item": 7}]).map_batches(dies, batch_size=1, batch_format="pyarrow", num_cpus=0.5)
    assert rows.take_all() == [{"item": 7}]


def test_a_row_goes_on_as_soon_as_it_is_yielded_and_stages_of_other_sizes_are_not_fused(data, tmp_path):
    """`engines.feed`: the plan is drawn up by a task that waits for what comes out at the other end."""
    from ray.data import TaskPoolStrategy

    def planned(_):
        for number in range(3):
            if number == 2:
                wait_for(tmp_path / "out")
            yield pa.table({"item": [number], "planner": [os.getpid()]})

    def read(batch):
        return batch.append_column("reader", pa.array([os.getpid()]))

    graph = (
        data.from_items([0])
        .map_batches(planned, batch_format="pyarrow", compute=TaskPoolStrategy(size=1), num_cpus=0.01)
        .map_batches(read, batch_size=1, batch_format="pyarrow", zero_copy_batch=True, num_cpus=0.3)
    )
    rows = []
    for batch in graph.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        rows += batch.to_pylist()
        (tmp_path / "out").touch()
    assert {row["item"] for row in rows} == {0, 1, 2}
    assert rows[0]["reader"] != rows[0]["planner"], "read while the planner was at work: in another process"


def test_what_a_stage_raises_is_its_own_error_and_rays(data):
    """`engines.cluster.unwrapped`."""
    from ray.exceptions import RayError

    from pipeline.errors import ModelError
    from pipeline.flow.engines.cluster import unwrapped

    def fails(_):
        raise ModelError("the reason")

    with pytest.raises((ModelError, RayError)) as caught:
        data.from_items([0]).map_batches(fails, batch_format="pyarrow").take_all()
    found = unwrapped(caught.value)
    assert (type(found), str(found)) == (ModelError, "the reason")


class Gate:
    """As `engines.feed.Gate`: one call waits inside the actor while another one lets it go."""

    def __init__(self):
        import asyncio

        self._open = asyncio.Event()

    async def wait(self):
        await self._open.wait()
        return os.getpid()

    async def release(self):
        self._open.set()
        return os.getpid()

    async def die(self):
        os._exit(1)


def test_calls_of_an_async_actor_overlap_and_are_repeated_when_it_dies(ray_cluster):
    """`engines.feed`, `poison.tracker`: answers are waited for without ``ray.get``, which lends the CPU to others."""
    import ray
    from ray.exceptions import RayError

    gate = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Gate).remote()
    waiting = gate.wait.remote().future()
    first = ray.get(gate.release.remote())
    assert waiting.result(timeout=60) == first

    other = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Gate).remote()
    waiting = other.wait.remote().future()
    with pytest.raises(RayError):
        ray.get(other.die.options(max_task_retries=0).remote())
    assert ray.get(other.release.remote()) == waiting.result(timeout=60)


def test_the_settings_of_our_graphs_exist(ray_cluster):
    """`engines.cluster.quiet_data` sets them as attributes, which would hide a name that has gone."""
    from dataclasses import fields

    from ray.data import DataContext

    names = {field.name for field in fields(DataContext)}
    assert names >= {
        "enable_progress_bars",
        "raise_original_map_exception",
        "target_max_block_size",
        "op_resource_reservation_ratio",
    }
