"""Every order of the steps of two drivers. `make explore` goes through all of them, this through the likeliest."""

from __future__ import annotations

import logging
import sys

import lance
import pyarrow as pa
import pytest
import runs
from explorer import Explorer
from faults import FAULTS
from scenarios import scenarios
from stepping import Driver, stepping
from store_state import OutsideError, Store

from pipeline.table import TableLocation

SECONDS = 2.0
"""For a scenario of which this cannot see everything."""


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.ERROR)


@pytest.mark.parametrize("name", list(scenarios()))
def test_orders_with_few_turns_keep_every_promise(name):
    result = Explorer(scenarios()[name], switches=2, seconds=SECONDS).run()
    assert not result.violations
    assert result.states > 20
    assert result.deaths


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name):
    fault, scenario, words = FAULTS[name]
    with fault():
        found = Explorer(scenarios()[scenario], first_only=True).run().violations
    assert any(words in each for each in found), found


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", list(scenarios()))
def test_all_orders_keep_every_promise(name):
    result = Explorer(scenarios()[name]).run()
    assert result.is_whole
    assert not result.violations


def follow(scenario, *script):
    return Explorer(scenarios()[scenario]).follow(script)


def test_a_late_record_does_not_hide_a_file_that_returns():
    """A, of version 1, sleeps before it records the file; B exchanges it; A wakes; version 1 is there again."""
    assert not follow("sleeper", ("A", "record_files"), ("B", None), ("A", None))


def test_a_late_mark_does_not_hide_a_slice_that_returns():
    """A, of version 1, sleeps before it marks slice 1, and dies after it has; version 1 is there again."""
    assert not follow("sleeper", ("A", "mark_slices"), ("B", None), ("A", "record_files"), ("A", "dies"))


def test_a_late_reject_does_not_outlive_its_file():
    """A sleeps before it writes rejects of a file that B then prunes."""
    assert not follow("prune asleep", ("A", "write_rejects"), ("B", None), ("A", None))


def test_a_late_commit_does_not_outlive_its_file():
    """A has committed a slice and sleeps; B deletes the file's rows; A commits another one; B drops the record."""
    assert not follow("prune asleep", ("A", "swap"), ("A", "stage"), ("B", "drop_older"), ("A", None), ("B", None))


def test_a_deletion_does_not_mark_slices_of_a_file_that_was_exchanged():
    """B has noted what is deleted; A exchanges the file; B marks slices; the older version is there again."""
    assert not follow("deletion, exchange", ("B", "mark_slices"), ("A", None), ("B", None))


def test_a_late_record_counts_for_nothing_where_the_exchange_died_before_its_last_records():
    """B, of version 2, sleeps before it records; A exchanges to 1 and dies at `drop_older`; B wakes; 2 is back."""
    assert not follow("sleeper", ("B", "record_files"), ("A", "drop_older"), ("A", "dies"), ("B", None))


def test_a_late_mark_of_a_deletion_counts_for_nothing_where_the_exchange_died_before_its_last_records():
    """B has noted what is deleted; A exchanges and dies at `drop_older`; B marks; the older version is back."""
    assert not follow("deletion, exchange", ("B", "mark_slices"), ("A", "drop_older"), ("A", "dies"), ("B", None))


def test_a_driver_that_slept_after_its_plan_does_not_take_the_epoch_back():
    """A has planned version 1 of a new file and sleeps; B embeds version 2; A embeds version 1 beside it."""
    assert not follow("sleeper", ("A", "begin_files"), ("B", None), ("A", None))


def test_every_write_through_lance_is_a_step(tmp_path):
    """By what is on the disk, not by what the methods are called."""
    location = TableLocation.parse(str(tmp_path / "lab"))
    runs.create(location)
    store = Store(tmp_path, "lab", lambda rows: None, tuple, {})
    driver = Driver("A", lambda: runs.embed(location, "A", [scenarios()["race"].files[0]]), store, ("write", "look"))
    with stepping():
        while driver.end is None:
            before, steps = store.listed(), driver.steps
            driver.advance()
            assert driver.steps > steps or store.listed() == before
    assert driver.end == "finished"
    assert driver.steps > 10


def test_a_write_outside_a_step_is_a_failure(tmp_path):
    location = TableLocation.parse(str(tmp_path / "lab"))
    runs.create(location)

    def program():
        (tmp_path / "lab.lance" / "data").mkdir(exist_ok=True)
        (tmp_path / "lab.lance" / "data" / "file").write_text("beside Lance")

    driver = Driver("A", program, Store(tmp_path, "lab", lambda rows: None, tuple, {}))
    driver.advance()
    assert isinstance(driver.end, OutsideError)


def test_what_lance_does_not_name_as_reading_is_a_step(tmp_path):
    """Also what a later version of Lance adds."""
    written = lance.write_dataset(pa.table({"a": [1]}), tmp_path / "lab.lance")
    store = Store(tmp_path, "lab", lambda rows: None, tuple, {})
    sys.modules["lance.dataset"].LanceDataset.brand_new = lambda self: None
    try:
        with stepping():
            driver = Driver("A", written.brand_new, store)
            driver.advance()
            assert driver.point == "? (LanceDataset.brand_new)"
            driver.advance()
    finally:
        del sys.modules["lance.dataset"].LanceDataset.brand_new
    assert driver.end == "finished"
