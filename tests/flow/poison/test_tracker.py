"""The rules of the hunt, without processes: a death is a unit that is taken up again before it has ended."""

from __future__ import annotations

import pyarrow.compute as pc
import pytest

from pipeline.errors import RunError, UsageError
from pipeline.flow.max_rejects import MaxRejects
from pipeline.flow.poison.items import BUILD, MAX_STRIKES, Item, one_by_one
from pipeline.flow.poison.tracker import MAX_BUILD_DEATHS, MAX_DEATHS, MAX_FIRST_DEATHS, Tracker
from pipeline.rejects import KILLED_ONCE, KILLER
from pipeline.spec import EmbeddingSpec
from pipeline.table import TableLocation, VectorTable
from pipeline.table.companions.rejects import read_rejects, remove_rejects
from pipeline.table.swap import begin_epoch


class DiedError(Exception):
    pass


def items(count):
    return {Item("embed", "file:///x", 7, row, f"d{row}"): [row] for row in range(count)}


def attempt(tracker, count, killers, together=frozenset()):
    """One life of a worker: the rows that it embeds, and those that it finds quarantined."""

    def work(rows):
        if killers & set(rows) or (len(rows) > 1 and together & set(rows)):
            raise DiedError
        return list(rows)

    if tracker.begin("unit", "embed", [7]):
        made, bad = one_by_one(tracker, "unit", items(count), work)
        done, quarantined = [row for rows, _ in made for row in rows], [item.row for item in bad]
    else:
        done, quarantined = work(range(count)), []
    tracker.end("unit")
    return sorted(done), quarantined


def lives(tracker, count, killers, **more):
    """Lives until the unit ends: how many, and what came of it."""
    for number in range(1, 100):
        try:
            return number, *attempt(tracker, count, frozenset(killers), **more)
        except DiedError:
            continue
    raise AssertionError


def test_a_unit_without_killers_is_taken_at_once():
    assert lives(Tracker(None, "run"), 5, ()) == (1, [0, 1, 2, 3, 4], [])


@pytest.mark.parametrize("killers", [(0,), (2,), (4,), (0, 1), (1, 3, 4)])
def test_each_killer_costs_two_deaths_and_the_first_one_more(killers):
    number, done, quarantined = lives(Tracker(None, "run"), 5, killers)
    assert number == 1 + MAX_STRIKES * len(killers) + 1
    assert quarantined == list(killers)
    assert done == sorted(set(range(5)) - set(killers))


def test_one_accident_quarantines_nobody():
    tracker = Tracker(None, "run")
    tracker.begin("unit", "embed", [7])  # dies of something else
    tracker.begin("unit", "embed", [7])
    tracker.announce("unit", next(iter(items(1))))  # and again, with a harmless document in flight
    assert attempt(tracker, 3, frozenset()) == ([0, 1, 2], [])


def test_documents_that_kill_only_together_are_embedded_alone():
    number, done, quarantined = lives(Tracker(None, "run"), 4, {3}, together=frozenset({0, 1}))
    assert (done, quarantined) == ([0, 1, 2], [3])
    assert number <= 6


def test_strikes_outlive_the_driver_and_can_be_forgiven(tmp_path):
    location = TableLocation.parse(tmp_path / "lake" / "docs")
    tracker = Tracker(location, "first")
    for _ in range(2):  # the unit, then document 2 alone
        with pytest.raises(DiedError):
            attempt(tracker, 4, frozenset({2}))
    tracker.begin("unit", "embed", [7])
    assert [(row["row"], row["reason"]) for row in read_rejects(location).to_pylist()] == [(2, KILLED_ONCE)]
    second = Tracker(location, "second")
    with pytest.raises(DiedError):  # careful from the start: one more death is enough
        attempt(second, 4, frozenset({2}))
    assert attempt(second, 4, frozenset({2})) == ([0, 1, 3], [2])
    (row,) = read_rejects(location).to_pylist()
    assert (row["row"], row["reason"], row["source"], row["id"]) == (2, KILLER, "file:///x", "d2")
    assert attempt(Tracker(location, "third"), 4, frozenset({2})) == ([0, 1, 3], [2])
    assert attempt(Tracker(location, "third", forgive=True), 4, frozenset()) == ([0, 1, 2, 3], [])


def test_units_end_one_by_one_and_others_are_left_alone():
    tracker = Tracker(None, "run")
    tracker.begin("a", "embed", [1])
    assert not tracker.begin("b", "embed", [2])
    assert tracker.begin("a", "embed", [1])
    tracker.end("a")
    assert not tracker.begin("a", "embed", [1])


def test_a_run_in_which_nothing_gets_through_stops():
    tracker = Tracker(None, "run")
    for _ in range(MAX_FIRST_DEATHS):
        tracker.begin("unit", "embed", [7])
    with pytest.raises(RunError, match="no document got through") as caught:
        tracker.begin("unit", "embed", [7])
    assert "\n" not in str(caught.value)


def test_a_run_of_nothing_but_killers_stops_later_if_something_got_through_before():
    tracker = Tracker(None, "run")
    assert attempt(tracker, 2, frozenset()) == ([0, 1], [])
    for _ in range(MAX_DEATHS):
        with pytest.raises(DiedError):
            attempt(tracker, 100, frozenset(range(100)))
    with pytest.raises(RunError):
        attempt(tracker, 100, frozenset(range(100)))


def test_a_replica_that_cannot_be_built_stops_the_run_whoever_tries():
    tracker = Tracker(None, "run")
    for _ in range(MAX_BUILD_DEATHS):
        tracker.begin("build one", BUILD)
    with pytest.raises(RunError, match="while the model was being loaded"):
        tracker.begin("build one", BUILD)
    with pytest.raises(RunError):
        tracker.begin("build two", BUILD)


def test_replicas_that_die_now_and_then_while_they_are_built_do_not():
    tracker = Tracker(None, "run")
    for _ in range(3 * MAX_BUILD_DEATHS):
        tracker.begin("build one", BUILD)
        tracker.begin("build one", BUILD)
        tracker.end("build one")


@pytest.mark.parametrize(("written", "rejected", "read"), [("5", 6, 10), (0, 1, 1), ("2.5%", 26, 1000)])
def test_too_many_rejects_stop_a_run(written, rejected, read):
    limit = MaxRejects.parse(written)
    limit.check(rejected - 1, read, "lake/docs")
    with pytest.raises(RunError, match=f"more than --max-rejects {written} allows.*inspect lake/docs --rejects"):
        limit.check(rejected, read, "lake/docs")


def test_a_share_of_little_says_nothing_before_the_end():
    limit = MaxRejects.parse("10%")
    limit.check(9, 10, "t")
    with pytest.raises(RunError):
        limit.check(9, 10, "t", at_end=True)
    MaxRejects.parse(None).check(10**9, 10**9, "t", at_end=True)


@pytest.mark.parametrize(("written", "allowed"), [("1%", 1), ("50%", 2), ("0%", 0), ("0", 0)])
def test_one_reject_is_no_share_yet(written, allowed):
    limit = MaxRejects.parse(written)
    limit.check(allowed, 4, "t", at_end=True)
    with pytest.raises(RunError, match=f"{allowed + 1} of 4 rows read"):
        limit.check(allowed + 1, 4, "t", at_end=True)


@pytest.mark.parametrize("written", ["", "many", "-1", "101%", "1.5", "%"])
def test_limits_that_mean_nothing(written):
    with pytest.raises(UsageError, match="N, or P% of the rows"):
        MaxRejects.parse(written)


def test_a_tracker_that_outlives_its_run_writes_no_strike(table_of_runs):
    """Its documents may be in the table by then, committed by the run that has taken the table over."""
    location, begin = table_of_runs
    for run, written in (("mine", 1), ("other", 0)):
        begin(run)
        tracker = Tracker(location, "mine", forgive=True)
        item = next(iter(items(1)))
        for _ in range(2):
            tracker.begin("unit", "embed", [7])
            tracker.announce("unit", item)
        tracker.begin("unit", "embed", [7])
        assert read_rejects(location).num_rows == written
        begin("mine")
        remove_rejects(location, pc.field("slice") == 7)


@pytest.fixture
def table_of_runs(tmp_path):
    location = TableLocation.parse(tmp_path / "lake" / "docs")
    VectorTable.create(location, spec=EmbeddingSpec(model="elsewhere"), dim=3)
    return location, lambda run: begin_epoch(location, run)
