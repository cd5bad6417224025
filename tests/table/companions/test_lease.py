"""One driver at a time: leases are taken, kept, given back, refused, and taken over from the dead."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lance
import pytest

from pipeline.errors import LeaseError
from pipeline.table import TableLocation
from pipeline.table.companions.lease import PATIENCE_SECONDS, Holder, Lease, read_holder
from pipeline.table.companions.runs import mark_interrupted, read_runs, start_run

HOLD = """
import sys, time
from pipeline.table import TableLocation
from pipeline.table.companions.lease import Lease
with Lease(TableLocation.parse(sys.argv[1]), "other"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def location(tmp_path):
    return TableLocation.parse(tmp_path / "lake" / "docs")


@pytest.fixture
def holder(location):
    """A process that holds the lease."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(location)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lease_is_held_while_the_context_lasts(location):
    assert read_holder(location) is None
    with Lease(location, "mine") as lease:
        held = read_holder(location)
        assert (held.run, held.pid, held.is_gone) == ("mine", os.getpid(), False)
        lease.check()
    assert read_holder(location) is None


def test_a_second_driver_leaves_with_a_line_that_says_who(location, holder):
    began = time.monotonic()
    with (
        pytest.raises(LeaseError, match=rf"run other, process {holder.pid} on .*--wait") as caught,
        Lease(location, "b"),
    ):
        pass
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert "\n" not in str(caught.value)


def test_a_killed_holder_on_this_machine_is_replaced_at_once(location, holder):
    os.kill(holder.pid, signal.SIGKILL)  # and left unreaped: a zombie is dead too
    began = time.monotonic()
    with Lease(location, "next"):
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_whoever_waits_gets_it_when_the_holder_ends(location):
    first = Lease(location, "first").__enter__()
    threading.Timer(0.6, first.__exit__, (None, None, None)).start()
    with Lease(location, "second", wait=30):
        assert read_holder(location).run == "second"


def elsewhere(location, **changes):
    """A lease as if held by a process of another machine, which took it from whoever has it, between two beats."""
    other = dataclasses.replace(Holder.myself("far"), machine="another", host="far.example", **changes)
    while read_holder(location) != other:
        with contextlib.suppress(OSError):
            put(location, other)
    return other


def put(location, holder):
    Lease(location, "x")._open().update_config({"moee.holder": json.dumps(dataclasses.asdict(holder))})


def test_a_silent_holder_elsewhere_is_replaced_after_the_observers_patience(location):
    elsewhere(location)
    began = time.monotonic()
    with Lease(location, "next", patience=0.8) as lease:
        assert 0.7 < time.monotonic() - began < PATIENCE_SECONDS
        lease.check()


@pytest.mark.parametrize("years", [-50, 50])
def test_jumping_clocks_make_nobody_dead_nor_alive(location, years):
    """Holder and observer disagree by decades; beats are what counts."""
    then = f"{2026 + years}-01-01T00:00:00+00:00"
    other = elsewhere(location, since=then, seen=then)
    stop = threading.Event()

    def beat():
        number = 0
        while not stop.wait(0.1):
            number += 1
            put(location, dataclasses.replace(other, beat=number))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(LeaseError, match=r"far\.example"), Lease(location, "b"):
            pass
    finally:
        stop.set()
        thread.join()


def test_only_one_of_many_holds_it_at_a_time(location):
    holders, most, held = 0, 0, threading.Lock()

    def attempt(number):
        nonlocal holders, most
        try:
            with Lease(location, f"run-{number}"):
                with held:
                    holders += 1
                    most = max(most, holders)
                time.sleep(0.5)
                with held:
                    holders -= 1
        except LeaseError:
            pass

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_beats_are_counted_and_leave_few_versions(location):
    with Lease(location, "mine", beat=0.01) as lease:
        deadline = time.monotonic() + 120
        while lease._mine.beat < 130:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        lease.check()
    assert len(lance.dataset(location.sibling("lease").uri).versions()) < 80


def test_a_driver_that_slept_too_long_is_told(location):
    with Lease(location, "sleeper", beat=0.1) as lease:
        elsewhere(location)
        lease._thread.join(20)
        with pytest.raises(LeaseError, match=r"taken over by run far"):
            lease.check()


def test_a_run_whose_driver_died_is_shown_as_interrupted(location, holder):
    start_run(location, "old", {})
    start_run(location, "other", {})
    assert read_runs(location)["status"].to_pylist() == ["interrupted", "running"]
    holder.kill()
    holder.wait()
    assert read_runs(location)["status"].to_pylist() == ["interrupted", "interrupted"]
    assert mark_interrupted(location) == 2
    assert mark_interrupted(location) == 0


def test_what_a_killed_run_told_last_becomes_its_record(location):
    told = {"read": 40, "documents": 30, "tokens": 900, "rejects": 2, "seconds": 7.5}
    Lease(location, "killed", progress=lambda: told)._acquire()  # a driver that dies gives nothing back
    start_run(location, "killed", {})
    (shown,) = read_runs(location).to_pylist()
    assert (shown["status"], shown["documents"], shown["rows_read"]) == ("running", 30, 40)
    elsewhere(location)
    with Lease(location, "next", patience=0.1, progress=lambda: {**told, "documents": 0}):
        assert mark_interrupted(location) == 1
        (kept,) = read_runs(location).to_pylist()
    assert (kept["status"], kept["tokens"], kept["rejects"], kept["seconds"]) == ("interrupted", 900, 2, 7.5)
