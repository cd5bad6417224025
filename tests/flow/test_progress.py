from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from pipeline.flow.progress import TerminalProgress
from pipeline.flow.report import EmbedReport


def follow(console):
    with TerminalProgress(console) as progress:
        progress.phase("listing")
        progress.start(100)
        progress.advance(40, 4000, 3)
        task = progress._progress.tasks[0] if progress._progress.tasks else None
    return task, console.file.getvalue()


def test_a_terminal_sees_documents_tokens_rate_and_rejects():
    task, _ = follow(Console(file=io.StringIO(), force_terminal=True, width=200))
    assert (task.completed, task.total) == (40, 100)
    assert task.fields["figures"].startswith("40/100 documents · 4,000 tokens · ")
    assert task.fields["figures"].endswith(" · 3 rejects")


def test_a_log_sees_a_line_for_each_phase():
    task, text = follow(Console(file=io.StringIO(), force_terminal=False, width=200))
    assert task is None
    assert text == "listing …\nembedding …\n"


def log_of(*calls, until, patience=0.0):
    """What a log has been told when `until` stands in it."""
    text = io.StringIO()
    console = Console(file=text, force_terminal=False, width=200)
    with TerminalProgress(console, patience=patience) as progress:
        for name, *arguments in calls:
            getattr(progress, name)(*arguments)
        began = time.monotonic()
        while until not in text.getvalue() and time.monotonic() - began < 20:
            time.sleep(0.01)
    return text.getvalue()


def test_a_log_hears_again_and_again_of_a_phase_that_lasts(monkeypatch):
    monkeypatch.setattr("pipeline.flow.progress.LOG_SECONDS", 0.05)
    text = log_of(("phase", "fitting topics"), until="0 s …\n")
    assert text.startswith("fitting topics …\nfitting topics: 0 s …\n")
    figures = log_of(("start", 100), ("advance", 40, 1, 1), until="reject")
    assert "40/100 documents · 1 token · " in figures
    assert figures.endswith(" · 1 reject\n")


def test_a_log_hears_nothing_of_a_quick_command():
    assert log_of(("phase", "indexing"), until="", patience=60.0) == ""
    assert log_of(("phase", "indexing"), until="…", patience=0.05) == "indexing …\n"


def test_a_phase_that_goes_on_is_told_once():
    console = Console(file=io.StringIO(), force_terminal=False, width=200)
    with TerminalProgress(console) as progress:
        for name in ("listing", "listing", "calibrating", "listing"):
            progress.phase(name)
    assert console.file.getvalue() == "listing …\ncalibrating …\nlisting …\n"


@pytest.fixture
def report():
    return EmbedReport(
        table="lake/docs",
        run="r",
        documents=90,
        tokens=9000,
        rejects=10,
        seconds=12.0,
        startup_seconds=3.0,
        table_rows=1090,
        table_rejects=12,
        version=4,
        files=2,
        finished_files=1,
        fingerprint="f",
        model="mini",
        reasons={"empty": 11, "unreadable": 1},
    )


def test_the_summary_is_one_line_with_the_figures(report):
    assert report.summary() == (
        "90 documents (9,000 tokens) in 12.0 s, 1,000 tokens/s after 3.0 s of start-up; "
        "lake/docs holds 1,090 documents and 12 rejects (11 empty, 1 unreadable)"
    )
    assert report.to_json()["tokens_per_second"] == 1000
    assert report.to_json()["nothing_to_do"] is False
