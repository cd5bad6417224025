"""Which engine a run gets, and that choosing one imports nothing that it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.errors import UsageError
from pipeline.flow.engines import choice, devices
from pipeline.flow.engines.choice import MAX_LOCAL_REPLICAS, choose_engine
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.options import EmbedOptions


@pytest.fixture(autouse=True)
def one_machine(monkeypatch):
    """Neither a cluster nor a GPU."""
    for name in ("RAY_ADDRESS", "RAY_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(choice, "_is_ray_connected", lambda: False)
    monkeypatch.setattr(choice, "count_gpus", lambda: 0)


def chosen(**options):
    engine, why = choose_engine(EmbedOptions(**options))
    return engine.name, why


def test_one_machine_needs_no_ray():
    assert chosen() == ("local", "")
    assert chosen(replicas=MAX_LOCAL_REPLICAS) == ("local", "")
    assert chosen(engine="ray") == ("Ray", "")


@pytest.mark.parametrize(
    ("options", "environment", "gpus", "why"),
    [
        ({}, {"RAY_ADDRESS": "10.0.0.1:6379"}, 0, "RAY_ADDRESS names a cluster"),
        ({}, {"RAY_JOB_ID": "01"}, 0, "connected to a Ray cluster"),
        ({}, {}, 4, "there are 4 GPUs"),
        ({"replicas": f"1:{MAX_LOCAL_REPLICAS + 1}"}, {}, 0, "more than one process can read for"),
    ],
)
def test_a_cluster_or_many_devices_do_and_the_reason_is_told(monkeypatch, options, environment, gpus, why):
    monkeypatch.setattr(choice, "count_gpus", lambda: gpus)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name, told = chosen(**options)
    assert name == "Ray"
    assert why in told
    assert chosen(**options, engine="local") == ("local", "")


def test_several_gpus_are_of_no_use_to_a_run_on_cpus(monkeypatch):
    monkeypatch.setattr(choice, "count_gpus", lambda: 4)
    assert chosen(device="cpu") == ("local", "")


def test_an_engine_that_is_none_is_refused():
    with pytest.raises(UsageError, match="engine='dask': auto, ray or local"):
        EmbedOptions(engine="dask")


def test_an_engine_of_ones_own_is_taken_as_it_is():
    engine = LocalEngine()
    assert choose_engine(EmbedOptions(engine=engine)) == (engine, "")


def test_gpus_are_counted_as_far_as_the_environment_names_them(monkeypatch):
    monkeypatch.setattr(devices.Path, "glob", lambda *_: iter(["nvidia0", "nvidia1", "nvidia2"]))
    for named, count in (("", 0), ("-1", 0), ("0", 1), ("0,2", 2), ("0,1,2,3,4", 3)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert devices.count_gpus() == count
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert devices.count_gpus() == 3


def test_a_driver_imports_neither_ray_nor_torch_nor_lancedb():
    code = (
        "import sys, pipeline.flow.embed, pipeline.flow.engines.local_engine; "
        "print(sorted({'ray', 'torch', 'transformers', 'lancedb', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
