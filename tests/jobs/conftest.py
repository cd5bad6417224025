from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def json(self):
        """What ``--json`` printed: exactly one object, and a line end."""
        assert self.out.endswith("}\n")
        return json.loads(self.out)

    @property
    def error(self):
        """The one line that told of an error, phases of the run left out."""
        lines = [line for line in self.err.splitlines() if not line.endswith(" …")]
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


def run_moee(capture, *arguments):
    """``moee`` in this process; what it sets up for a process of its own is taken back."""
    from jobs.cli import main

    root = logging.getLogger()
    before = root.handlers[:], root.level
    capture.readouterr()
    try:
        with warnings.catch_warnings():
            status = main([str(argument) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code
    finally:
        root.handlers[:], root.level = before
    return Outcome(status, *capture.readouterr())


@pytest.fixture
def moee(capsys):
    """Run a command as a person would: ``moee("search", table, "a query")``."""
    return lambda *arguments: run_moee(capsys, *arguments)


SIZE = 90


@dataclass(frozen=True)
class News:
    """A table of 90 documents in three themes, and one reject; no test changes it."""

    source: str
    table: str


@pytest.fixture(scope="session")
def news(ray_cluster, lab, tmp_path_factory):
    from pipeline import embed

    folder = tmp_path_factory.mktemp("news")
    rows = [*lab.documents(SIZE), {"id": "nothing", "text": "", "theme": "none"}]
    source = str(lab.write(folder / "news.jsonl", rows))
    embed(source, str(folder / "lake" / "news"), lab.SPEC, keep=("theme",))
    return News(source, str(folder / "lake" / "news"))
