from __future__ import annotations

import pytest


def pytest_addoption(parser):
    group = parser.getgroup("soak")
    group.addoption("--kills", type=int, default=200, help="faults before the soak ends (200)")
    group.addoption("--minutes", type=float, default=120, help="and at most so many minutes (120)")
    group.addoption("--seed", type=int, default=None, help="of the faults; printed")
    group.addoption("--engine", choices=["ray", "local"], default="ray", help="what executes the drivers' runs (ray)")
    group.addoption("--faults", default=None, help="only these, by name, separated by commas")


@pytest.fixture(scope="session")
def world(load):
    return load("soak/world.py")
