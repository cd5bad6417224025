"""Files that nobody committed are collected; whatever a version, a tag or the journal names stays."""

from __future__ import annotations

import lance
import pytest
from lance.optimize import Compaction

from pipeline.errors import CommitError
from pipeline.table import Committer, TableLocation, stage
from pipeline.table.fragments.orphans import collect_orphans, orphans


@pytest.fixture
def location(table_lab, uri):
    table_lab.drive(uri)
    collect_orphans(TableLocation.parse(uri), "before")
    return TableLocation.parse(uri)


def staged(table_lab, location, place=(2, 3)):
    return stage(location, table_lab.read([place])[0])


def test_what_was_staged_and_never_committed_goes(table_lab, uri, location):
    staged(table_lab, location)
    staged(table_lab, location, (1, 1))
    found = orphans(location)
    assert len(found) == 2
    assert collect_orphans(location, "next") == sum(found.values()) > 0
    assert not orphans(location)
    table_lab.assert_exactly_once(uri)


def test_without_orphans_nothing_is_written(table_lab, location):
    version = lance.dataset(location.uri).version
    assert collect_orphans(location, "next") == 0
    assert lance.dataset(location.uri).version == version


def test_old_versions_and_tags_stay_readable(table_lab, location):
    dataset = lance.dataset(location.uri)
    before, rows = dataset.version, dataset.count_rows()
    dataset.tags.create("before", before)
    dataset.delete("row < 4")
    dataset.optimize.compact_files()
    staged(table_lab, location)
    assert collect_orphans(location, "next") > 0
    assert lance.dataset(location.uri, version=before).to_table().num_rows == rows
    assert lance.dataset(location.uri, version="before").to_table().num_rows == rows


def test_files_of_the_journal_stay(table_lab, location):
    kept, lost = staged(table_lab, location), staged(table_lab, location, (1, 1))
    from pipeline.table.fragments.staging import fragment_paths

    names = fragment_paths(kept.fragments)
    assert collect_orphans(location, "next", names) > 0
    assert set(orphans(location)) == set(names)
    assert lost.n_rows


def test_a_driver_that_slept_through_a_collection_cannot_commit_what_is_gone(table_lab, uri, location):
    """Its files were collected; its commit would make the table unreadable."""
    dataset = lance.dataset(uri + ".lance")
    dataset.delete("slice = " + str(table_lab.number_of((2, 3))))
    with Committer(location, "sleeper", max_seconds=60) as sleeper:
        sleeper.add(staged(table_lab, location))
        assert collect_orphans(location, "next") > 0
        with pytest.raises(CommitError, match=r"run next took .* over"):
            sleeper.flush()
        with pytest.raises(CommitError):
            sleeper.close()
        sleeper.close = lambda: None
    assert lance.dataset(uri + ".lance").to_table().num_rows


def test_a_compaction_in_flight_loses_its_race_and_not_its_files(table_lab, location):
    """By another program, with plain Lance: what it has written so far is named by no version."""
    dataset = lance.dataset(location.uri)
    rows = dataset.count_rows()
    dataset.delete("row = 0")
    dataset = lance.dataset(location.uri)
    plan = Compaction.plan(dataset, options={"target_rows_per_fragment": 1000})
    done = [task.execute(dataset) for task in plan.tasks]
    assert collect_orphans(location, "next") > 0
    with pytest.raises(OSError, match="conflict"):
        Compaction.commit(dataset, done)
    assert 0 < lance.dataset(location.uri).to_table().num_rows < rows
