"""When commits are made: after enough rows or seconds, not too often, and at once where nothing will follow."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.rejects import REJECTS
from pipeline.table.changes.replacement import Replacement
from pipeline.table.commit import collector as module
from pipeline.table.commit.collector import Collector
from pipeline.table.fragments.staging import KEYS, Staged


def staged(rows, start=0):
    places = range(start, start + rows)
    keys = {"id": [f"d{row}" for row in places], "source": ["s"] * rows, "slice": [1] * rows, "row": list(places)}
    import pyarrow as pa

    return Staged(("{}",), pa.table(keys, schema=KEYS), "layout")


class Commits:
    """In place of a committer: notes what it gets, and takes its time."""

    def __init__(self, seconds=0.0):
        self.seconds, self.sizes, self.times = seconds, [], []

    def __call__(self, pending, entries, last):
        if pending.size:
            self.times.append(time.monotonic())
            self.sizes.append(pending.size)
            time.sleep(self.seconds)


@pytest.fixture
def collect():
    made = []

    def collect(commits, **given):
        made.append(Collector(commits, Replacement(None, "r", {}, lambda _: ()), **{"max_seconds": 1e6, **given}))
        return made[-1]

    yield collect
    for each in made:
        each.stop()


def test_enough_rows_are_committed_at_once(collect):
    commits = Commits()
    collector = collect(commits, max_rows=10)
    collector.add(staged(9), None, ())
    assert commits.sizes == []
    collector.add(staged(1), None, ())
    assert commits.sizes == [10]


def test_after_a_commit_the_next_waits_nine_times_as_long(collect):
    commits = Commits(seconds=0.05)
    collector = collect(commits, max_rows=1, max_seconds=0.05)
    began = time.monotonic()
    while time.monotonic() - began < 1.5:
        collector.add(staged(1), None, ())
        time.sleep(0.2)
    gaps = [after - before for before, after in zip(commits.times, commits.times[1:], strict=False)]
    assert gaps
    assert min(gaps) >= 0.05 * (1 + module.SPACING)


def test_the_stream_is_held_back_where_too_much_waits(collect):
    commits = Commits(seconds=0.05)
    collector = collect(commits, max_rows=1)
    collector.add(staged(1), None, ())
    began = time.monotonic()
    for _ in range(module.MAX_WAITING_COMMITS):
        collector.add(staged(1), None, ())
    assert time.monotonic() - began >= 0.05 * module.SPACING
    assert commits.sizes == [1, module.MAX_WAITING_COMMITS]


def test_a_flush_waits_for_nothing(collect):
    commits = Commits(seconds=0.2)
    collector = collect(commits, max_rows=1)
    collector.add(staged(1), None, ())
    collector.add(staged(2), None, ())
    began = time.monotonic()
    collector.flush(last=True)
    assert time.monotonic() - began < 0.2 * module.SPACING
    assert commits.sizes == [1, 2]


def test_one_that_is_held_back_goes_on_when_it_is_stopped(collect):
    """Ctrl-C in the driver's thread stops the collector from another point of view: a wait must not outlive it."""
    commits = Commits(seconds=0.3)
    collector = collect(commits, max_rows=1)
    collector.add(staged(1), None, ())
    threading.Timer(0.1, collector.stop).start()
    began = time.monotonic()
    for _ in range(module.MAX_WAITING_COMMITS):
        collector.add(staged(1), None, ())
    assert time.monotonic() - began < 0.3 * module.SPACING


def test_rejects_count_as_rows(collect):
    import pyarrow as pa

    commits = Commits()
    collector = collect(commits, max_rows=2)
    row = {
        "id": "a",
        "source": "s",
        "slice": 1,
        "row": 0,
        "stage": "check",
        "reason": "empty",
        "detail": "",
        "run": "r",
    }
    collector.add(None, pa.Table.from_pylist([row], schema=REJECTS), ())
    collector.add(None, pa.Table.from_pylist([row], schema=REJECTS), ())
    assert commits.sizes == [2]
