"""Whoever changes topics is really killed, at every step; the same command then ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.topics import load_topics
from pipeline.topics.operations import fit, new_topics
from pipeline.topics.versions.tables import TopicTables

HERE = Path(__file__).parent
SCRIPT = HERE / "crash.py"


REFRESH = [
    ("refresh", "committed", 1),
    ("refresh", "committed", 2),
    ("refresh", "switched", 1),
]
OTHERS = [("merge", "written", 1), ("refit", "saved", 1)]
RARE = [
    *(("refresh", "saved", count) for count in (1, 2, 3)),
    *(("refresh", "written", count) for count in (1, 2, 3, 4)),
    ("refresh", "switched", 2),
    *(("merge", step, count) for step, count in (("saved", 1), ("written", 2), ("written", 3), ("switched", 1))),
    *(
        ("refit", step, count)
        for step, count in (("written", 1), ("saved", 2), ("written", 3), ("switched", 1), ("switched", 2))
    ),
    *(("label", step, count) for step, count in (("written", 1), ("written", 2), ("switched", 1))),
]

ENDED = {("merge", "switched", 1), ("refit", "switched", 2)}
"""Killed after all was done: the same command again would be another operation."""


@pytest.fixture(scope="session")
def crash(load):
    return load("topics/operations/crash.py")


@pytest.fixture
def grown(crash, fitted, helpers, tmp_path, monkeypatch):
    """Two copies of the fitted table with some more documents; clustering costs nothing."""
    monkeypatch.setattr(new_topics, "cluster", crash.by_direction)
    monkeypatch.setattr(fit, "cluster", crash.by_direction)
    tables = []
    for name in ("killed", "whole"):
        shutil.copytree(Path(fitted.uri).parent, tmp_path / name)
        more = helpers.corpus({"space": 30, "motors": 20, "garden": 60}, seed=5, prefix="new ")
        helpers.write(tmp_path / name, more, "append")
        tables.append(str(tmp_path / name / "docs"))
    return tables


def content(table):
    """All that the topics are, but for when they were made."""
    topics = load_topics(table)
    order = [("topic", "ascending")]
    models = [
        {name: getattr(model, name) for name in model.__slots__ if name != "created"}
        for model in topics.tables.models()
    ]
    events = topics.events().drop_columns("created").sort_by([("topic", "ascending")]).to_pylist()
    assigned = topics.assignments().drop_columns(["version", "model"]).sort_by([("id", "ascending")]).to_pylist()
    return models, topics.topics().sort_by(order).to_pylist(), events, assigned


def nothing_is_left(table):
    """Whether there are no artefacts either that the next operation would have to remove."""
    tables = TopicTables.of(table)
    models = tables.models()
    tokens = {model.model for model in models}
    for kind in ("topic_assignments", "topics", "topic_events"):
        assert set(tables.open(kind).to_table(columns=["model"])["model"].to_pylist()) <= tokens
    names = {path.name for path in Path(f"{table}.topic_artefacts").iterdir() if not path.name.startswith("words.")}
    return names == {f"{model.artefact}.safetensors" for model in models}


@pytest.mark.parametrize(
    ("operation", "step", "count"),
    [*REFRESH, *OTHERS, *(pytest.param(*case, marks=pytest.mark.slow) for case in RARE)],
)
def test_an_operation_killed_at_a_step_is_gone_on_with(crash, grown, operation, step, count):
    killed, whole = grown
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), killed, operation, step, str(count)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
    crash.operate(whole, operation)
    if (operation, step, count) not in ENDED:
        crash.operate(killed, operation)
        assert nothing_is_left(killed) or step == "switched"
    assert content(killed) == content(whole)
