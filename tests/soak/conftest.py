from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def pytest_addoption(parser):
    group = parser.getgroup("soak")
    group.addoption("--kills", type=int, default=200, help="faults before the soak ends (200)")
    group.addoption("--minutes", type=float, default=120, help="and at most so many minutes (120)")
    group.addoption("--seed", type=int, default=None, help="of the faults; printed")
    group.addoption("--faults", default=None, help="only these, by name, separated by commas")


def load(name, path):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def lab():
    return load("flow_lab", TESTS / "flow" / "lab.py")


@pytest.fixture(scope="session")
def world():
    return load("soak_world", Path(__file__).with_name("world.py"))
