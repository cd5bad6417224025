"""The scripts of examples/, each as a person would run it: in a process and a directory of its own, offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
TESTED = {"ray_pipeline", "plain_lancedb", "bertopic_notebook", "own_model"}


@pytest.fixture
def run(tmp_path):
    """Run a script in a fresh directory; returns the lines that it printed."""

    def run(name):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "RAY_USAGE_STATS_ENABLED": "0"}
        done = subprocess.run(
            [sys.executable, EXAMPLES / f"{name}.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=840,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout.splitlines()

    return run


def test_every_example_is_run():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED


@pytest.mark.cluster
def test_a_pipeline_of_ones_own_gets_vectors_or_the_reason_why_not(run, tmp_path):
    lines = [line for line in run("ray_pipeline") if line[:1].isalpha()]
    made = dict(line.split(maxsplit=1) for line in lines[-5:])
    assert set(made) == {"orbits", "bread", "keys", "nothing", "planets"}
    assert made.pop("nothing") == "empty"
    assert all("320 dimensions" in text for text in made.values())
    assert list((tmp_path / "embedded").glob("*.parquet"))


def test_plain_lancedb_and_pandas_read_documents_rejects_and_topics(run):
    lines = run("plain_lancedb")
    printed = "\n".join(lines)
    assert "256 documents; columns id, text, vector" in printed
    assert any(line.split() == ["passage-256", "check", "empty"] for line in lines)
    assert any(line.split() == ["passage-257", "check", "null", "text"] for line in lines)
    neighbours = [float(line.split()[0]) for line in lines if line.startswith("  ") and " passage-" in line][:3]
    assert neighbours == sorted(neighbours, reverse=True)
    assert neighbours[0] == pytest.approx(1, abs=0.01)
    topics = [line.split() for line in lines if line.startswith("  topic")]
    assert len(topics) > 1
    assert sum(int(words[2]) for words in topics) == 256


def test_the_bertopic_notebook_finds_topics(run):
    lines = run("bertopic_notebook")
    assert lines[0].split() == ["Topic", "Count", "Name"]
    assert int(lines[-1].split()[-2]) >= 2


def test_a_model_directory_of_ones_own_gives_vectors(run, tmp_path):
    lines = run("own_model")
    assert (tmp_path / "my-olmoe" / "model.safetensors").is_file()
    assert any(line == "hidden state 64, router scores 16 (2 layers of 8 experts), vector 80" for line in lines)
    assert lines[-6].startswith("[[1. ")
