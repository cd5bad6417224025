"""Promise 2, exactly once: drivers are really killed, at every step and at any moment, and really race."""

from __future__ import annotations

import signal

import numpy as np
import pytest

from pipeline.table import Ledger, TableLocation, VectorTable

STEPS = ["staged", "opened", "admitted", "rejects written", "committed"]
LAST = "files recorded"


@pytest.mark.parametrize(("step", "count"), [(step, count) for step in STEPS for count in (1, 3)] + [(LAST, 1)])
def test_driver_killed_at_a_step_is_resumed(table_lab, uri, start_driver, step, count):
    process = start_driver(uri, "--die", step, count)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    table_lab.drive(uri, run="again", seed=count)
    table_lab.assert_exactly_once(uri)
    assert_nothing_left(table_lab, uri)


def test_two_killed_runs_with_other_bundles(table_lab, uri, start_driver):
    """Rejects of a run that died may name rows which the next one, in another order, accepts."""
    for seed, bundle in [(1, 6), (2, 3), (3, 12)]:
        process = start_driver(uri, "--die", "rejects written", 1, "--seed", seed, "--bundle", bundle)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
    table_lab.drive(uri, run="last", seed=4, bundle=1)
    table_lab.assert_exactly_once(uri)
    assert_nothing_left(table_lab, uri)


@pytest.mark.parametrize("after", [0.02, 0.1, 0.2])
def test_driver_killed_at_any_moment(table_lab, tmp_path, start_driver, after):
    """After so much processor time, however busy the machine is; halved where it is so fast that the run had ended."""
    while True:
        uri = str(tmp_path / str(after) / "lab")
        table_lab.create(uri)
        process = start_driver(uri, "--bundle", 1, "--max-rows", 5, "--die-after", after)
        _, errors = process.communicate(timeout=120)
        if process.returncode:
            break
        after /= 2
    assert process.returncode == -signal.SIGPROF, errors
    table_lab.drive(uri, run="again", seed=9, bundle=3)
    table_lab.assert_exactly_once(uri)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_drivers_race(table_lab, uri, tmp_path, start_driver, seed):
    gate = tmp_path / "gate"
    processes = [
        start_driver(uri, "--wait", gate, "--seed", 10 * seed + 1, "--bundle", 2, "--max-rows", 8),
        start_driver(uri, "--wait", gate, "--seed", 10 * seed + 2, "--bundle", 3, "--max-rows", 12),
    ]
    table_lab.open_gate(gate, processes)
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    table_lab.assert_exactly_once(uri)
    assert_nothing_left(table_lab, uri)


def test_one_of_two_racing_drivers_dies(table_lab, uri, tmp_path, start_driver):
    gate = tmp_path / "gate"
    doomed = start_driver(uri, "--wait", gate, "--seed", 1, "--bundle", 4, "--die", "rejects written", 2)
    other = start_driver(uri, "--wait", gate, "--seed", 2, "--bundle", 2, "--max-rows", 8, "--pause", 0.2)
    table_lab.open_gate(gate, [doomed, other])
    _, errors = other.communicate(timeout=120)
    doomed.communicate(timeout=120)
    assert other.returncode == 0, errors
    assert doomed.returncode == -signal.SIGKILL
    table_lab.drive(uri, run="again")
    table_lab.assert_exactly_once(uri)


EXCHANGE = ["journaled", "rejects written", "committed"]
RARE = ["staged", "older versions reopened", "opened", "admitted", "finished"]


@pytest.mark.parametrize("step", [*EXCHANGE, *(pytest.param(step, marks=pytest.mark.slow) for step in RARE)])
def test_driver_killed_while_it_exchanges_changed_files(table_lab, uri, start_driver, step):
    table_lab.drive(uri)
    process = start_driver(uri, "--exchange", "--bundle", 1, "--die", step, 2 if step in {"staged", "journaled"} else 1)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    _, staged_again = table_lab.exchange(uri, run="again", seed=3)
    table_lab.assert_exchanged(uri)
    assert staged_again < len(table_lab.new_places()) or step == "staged", "what the journal held was read again"
    version = VectorTable.open(uri).dataset().version
    assert table_lab.exchange(uri, run="idle")[1] == 0
    assert VectorTable.open(uri).dataset().version == version + 1, "a commit that changes nothing, as a fence"
    table_lab.assert_exchanged(uri)


@pytest.mark.slow
def test_two_drivers_exchange_the_same_files(table_lab, uri, tmp_path, start_driver):
    table_lab.drive(uri)
    gate = tmp_path / "gate"
    processes = [
        start_driver(uri, "--exchange", "--wait", gate, "--seed", 1, "--bundle", 1, "--max-rows", 4),
        start_driver(uri, "--exchange", "--wait", gate, "--seed", 2, "--bundle", 2),
    ]
    table_lab.open_gate(gate, processes)
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    table_lab.exchange(uri, run="last")
    table_lab.assert_exchanged(uri)


def assert_nothing_left(table_lab, uri):
    """The ledger knows every slice and every file, and one more run changes nothing."""
    location = TableLocation.parse(uri)
    ledger = Ledger.load(location)
    assert set(ledger.done) == {table_lab.number_of(place) for place in table_lab.all_slices()}
    version = VectorTable.open(uri).dataset().version
    committer = table_lab.drive(uri, run="idle")
    assert (committer.totals.rows, committer.totals.rejects, committer.totals.commits) == (0, 0, 0)
    assert VectorTable.open(uri).dataset().version == version
    assert np.all(np.diff(ledger.done) > 0)
