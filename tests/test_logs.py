from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys

import pytest

from pipeline import logs
from pipeline.errors import UsageError
from pipeline.logs import JsonFormatter, JsonLines, at_work_on, wants_json


@pytest.fixture(autouse=True)
def nothing_at_work(monkeypatch):
    monkeypatch.setattr(logs, "_at_work", {})
    monkeypatch.delenv(logs.FORMAT_VARIABLE, raising=False)


def test_a_record_is_one_line_with_run_and_unit():
    at_work_on(run="r1", unit="embed [1, 0] 8")
    record = logging.LogRecord("pipeline.x", logging.WARNING, "x.py", 1, "two\nlines %d", (5,), None)
    line = JsonFormatter().format(record)
    told = json.loads(line)
    assert "\n" not in line
    assert told.pop("time").endswith("Z")
    assert told == {"level": "warning", "message": "two\nlines 5", "logger": "pipeline.x", "run": "r1",
                    "unit": "embed [1, 0] 8"}  # fmt: skip


def test_what_is_written_for_people_becomes_a_line_of_the_same_form():
    stream = io.StringIO()
    lines = JsonLines(stream)
    for part in ("listing …\nerror: the", " disk is full: stop\n", "\n"):
        lines.write(part)
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(each["level"], each["message"]) for each in told] == [
        ("info", "listing …"),
        ("error", "the disk is full: stop"),
    ]


def test_another_format_is_refused(monkeypatch):
    monkeypatch.setenv(logs.FORMAT_VARIABLE, "xml")
    with pytest.raises(UsageError, match="text or json"):
        wants_json()


@pytest.mark.parametrize(("kind", "status"), [("json", 1), ("xml", 2)])
def test_a_command_that_fails_says_so_in_one_object(kind, status, tmp_path):
    environment = {**os.environ, "MOEE_LOG_FORMAT": kind, "NO_COLOR": "1"}
    command = [sys.executable, "-m", "jobs.cli", "inspect", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    if kind == "json":
        told = json.loads(line)
        assert (told["level"], "there is no" in told["message"]) == ("error", True)
    else:
        assert line == "error: MOEE_LOG_FORMAT='xml': text or json"
