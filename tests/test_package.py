"""Rules that hold for the whole package."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline

ROOT = Path(pipeline.__file__).parent.parent
SOURCES = sorted(path for folder in ("pipeline", "jobs") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("name", pipeline.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(pipeline, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pipeline.nothing


def test_importing_the_package_imports_nothing_heavy():
    code = (
        "import sys, pipeline; print(sorted({'torch', 'ray', 'lance', 'bertopic', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_flow_service_and_jobs_import_ray_and_nothing_imports_pickle(path):
    imported = _imports(path)
    assert imported.isdisjoint({"pickle", "cloudpickle", "joblib", "dill"})
    if (
        path.relative_to(ROOT).parts[:2] not in {("pipeline", "flow"), ("pipeline", "service")}
        and "jobs" not in path.parts
    ):
        assert "ray" not in imported


def test_a_process_of_our_own_collects_rarely_and_not_at_the_end():
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"  # runs after what is registered later
        "from pipeline.garbage import collect_rarely\n"
        "collect_rarely()\n"
        "print(gc.get_threshold()[0], gc.isenabled())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["50000", "True", "True"]
