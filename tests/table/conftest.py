from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture(scope="session")
def table_lab(load):
    return load("table/lab.py")


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "lake" / "lab")


@pytest.fixture
def start_driver():
    """Start lab.py as a process of its own; whatever is left at the end is killed."""
    started = []

    def start(*arguments):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
        command = [sys.executable, str(HERE / "lab.py"), *map(str, arguments)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()
