from __future__ import annotations

import json

import pytest

from pipeline.flow.embed import plan_embed
from pipeline.flow.forecast.forecast import forecast
from pipeline.flow.forecast.remembered import recall, remember
from pipeline.flow.progress import Quiet
from pipeline.models.content import cache_directory


@pytest.fixture
def planned(lab, tmp_path, monkeypatch):
    """A task whose estimate is remembered, in a cache of its own."""
    monkeypatch.setenv("MOEE_CACHE", str(tmp_path / "cache"))
    lab.write(tmp_path / "in" / "a.parquet", lab.documents(30))
    task = plan_embed(str(tmp_path / "in"), tmp_path / "lake" / "docs", lab.SPEC)
    expected = forecast(task, Quiet(), rate=1000.0)
    remember(task.location, task.work.units, expected)
    return task, expected


def test_an_estimate_is_recalled_once(planned):
    task, expected = planned
    assert recall(task.location, task.work.units)["seconds"] == expected.seconds
    assert recall(task.location, task.work.units) is None


def test_a_run_on_other_files_is_held_against_nothing(planned, lab, tmp_path):
    task, _ = planned
    lab.write(tmp_path / "in" / "b.parquet", lab.documents(3, "more"))
    other = plan_embed(str(tmp_path / "in"), tmp_path / "lake" / "docs", lab.SPEC)
    assert recall(other.location, other.work.units) is None
    limited = plan_embed(str(tmp_path / "in" / "a.parquet"), tmp_path / "lake" / "docs", lab.SPEC, limit=10)
    assert recall(limited.location, limited.work.units) is None
    assert recall(task.location, task.work.units) is not None


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", json.dumps({"made": 0, "rows": 1}), json.dumps({"made": "long ago"})]
)
def test_what_another_version_or_a_dead_process_left_does_no_harm(planned, content):
    task, _ = planned
    (file,) = (cache_directory() / "plans").iterdir()
    file.write_text(content)
    assert recall(task.location, task.work.units) is None
