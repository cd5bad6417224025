"""Cleaning: what was deleted or exchanged leaves the disk; what is there, and what waits, stays."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lance
import pytest

from pipeline.errors import LeaseError, UsageError
from pipeline.table import TableLocation, VectorTable
from pipeline.table.companions.journal import read_journal, staged_files
from pipeline.table.companions.lease import Lease
from pipeline.table.upkeep import clean


def on_disk(uri, what):
    return sum(what.encode() in path.read_bytes() for path in Path(f"{uri}.lance").rglob("data/*.lance"))


def test_deleted_rows_leave_the_disk_with_their_versions(table_lab, uri):
    table_lab.drive(uri)
    table = VectorTable.open(uri)
    before = table.dataset().to_table(columns=["id", "text"]).to_pylist()
    assert on_disk(uri, "text 2 3 4")
    table.delete(["f2-s3-r4"])
    assert on_disk(uri, "text 2 3 4"), "older versions hold it"
    versions = len(table.dataset().versions())
    cleaned = table.clean(days=0)
    assert cleaned.versions >= versions - 1
    assert cleaned.bytes > 0
    assert not on_disk(uri, "text 2 3 4")
    assert table.dataset().to_table(columns=["id", "text"]).to_pylist() == [
        row for row in before if row["id"] != "f2-s3-r4"
    ]
    table.dataset().validate()
    assert table_lab.drive(uri, run="idle").totals.commits == 0, "the ledger knows as much as before"
    assert "f2-s3-r4" not in table.dataset().to_table(columns=["id"])["id"].to_pylist()


def test_young_and_tagged_versions_stay(table_lab, uri):
    table_lab.drive(uri, bundle=1, max_rows=1)
    table = VectorTable.open(uri)
    first = min(version["version"] for version in table.dataset().versions())
    table.dataset().tags.create("kept", first)
    assert table.clean().versions == 0
    table.clean(days=0)
    assert min(version["version"] for version in table.dataset().versions()) == first
    assert lance.dataset(f"{uri}.lance", version="kept").count_rows() == 0


def test_not_while_a_driver_is_at_work_and_not_for_nonsense(table_lab, uri):
    table_lab.drive(uri)
    location = TableLocation.parse(uri)
    with Lease(location, "driver"), pytest.raises(LeaseError):
        clean(location, "cleaner", 7)
    for days in (-1, float("nan"), 10**9):
        with pytest.raises(UsageError, match="versions are kept"):
            clean(location, "cleaner", days)


def test_who_waits_cleans_when_the_driver_has_ended(table_lab, uri):
    table_lab.drive(uri)
    location = TableLocation.parse(uri)
    with ThreadPoolExecutor(1) as pool:
        with Lease(location, "driver"):
            cleaned = pool.submit(clean, location, "cleaner", 0, wait=60)
            with pytest.raises(TimeoutError):
                cleaned.result(timeout=2)  # without waiting it would give up after one second
        assert cleaned.result(timeout=60).versions > 0


def test_what_waits_in_the_journal_is_staged_anew_if_it_was_cleaned_away(table_lab, uri, start_driver):
    table_lab.drive(uri)
    process = start_driver(uri, "--exchange", "--bundle", 1, "--die", "journaled", 2)
    process.communicate(timeout=120)
    location = TableLocation.parse(uri)
    waiting, names = read_journal(location).num_rows, staged_files(location)
    assert waiting
    assert names
    VectorTable.open(uri).clean(days=0)
    assert read_journal(location).num_rows == waiting, "nothing is lost that is younger than a week"
    old = time.time() - 8 * 86_400
    for name in names:
        os.utime(Path(f"{uri}.lance") / "data" / name, (old, old))
    VectorTable.open(uri).clean(days=0)
    assert read_journal(location).num_rows < waiting
    table_lab.exchange(uri, run="again", seed=3)
    table_lab.assert_exchanged(uri)


def test_an_exchange_that_died_and_was_cleaned_behind_is_finished(table_lab, uri, start_driver):
    """Its fragments are in the table, so nothing is staged anew; compaction has taken away what the journal names."""
    table_lab.drive(uri)
    process = start_driver(uri, "--exchange", "--bundle", 1, "--die", "committed", 1)
    process.communicate(timeout=120)
    VectorTable.open(uri).clean(days=0)
    table_lab.exchange(uri, run="again", seed=3)
    table_lab.assert_exchanged(uri)


def test_another_table_of_a_similar_name_is_left_alone(table_lab, uri):
    table_lab.drive(uri)
    table_lab.drive(f"{uri}.de")
    versions = len(VectorTable.open(f"{uri}.de").dataset().versions())
    VectorTable.open(uri).clean(days=0)
    assert len(VectorTable.open(f"{uri}.de").dataset().versions()) == versions > 1


def test_not_while_topics_are_at_work(table_lab, uri):
    table_lab.drive(uri)
    location = TableLocation.parse(uri)
    lance.write_dataset(VectorTable.open(uri).dataset().to_table(columns=["id"]), location.sibling("topics").uri)
    with Lease(location.sibling("topics"), "topics"), pytest.raises(LeaseError):
        clean(location, "cleaner", 7)
