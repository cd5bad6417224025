"""The package as it is imported: its public names, what an import costs, how a process collects garbage."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pipeline


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
