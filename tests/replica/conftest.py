from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

import pipeline.replica.any_architecture  # noqa: F401 — it teaches transformers our attention and our experts


def _load(name):
    spec = importlib.util.spec_from_file_location(f"replica_{name}", Path(__file__).parent / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tiny = _load("tiny")


@pytest.fixture(scope="session")
def tiny_model():
    """`tiny.tiny_model`: a random model of any architecture, by its name."""
    return tiny.tiny_model


@pytest.fixture(scope="session")
def tiny_composite():
    """`tiny.tiny_composite`: a small configuration of an architecture that reads images or sound as well."""
    return tiny.tiny_composite
