from __future__ import annotations

import io

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
