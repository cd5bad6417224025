from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def _load_lab():
    spec = importlib.util.spec_from_file_location("table_lab", HERE / "lab.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["table_lab"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def lab():
    return _load_lab()


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
