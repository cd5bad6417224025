"""Promise 2 for tables of very many fragments: append and audit, with drivers really killed and really racing."""

from __future__ import annotations

import signal

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import TableError
from pipeline.table import Committer, TableLocation, VectorTable, stage
from pipeline.table.commit import append as append_module
from pipeline.table.commit import swap as swap_module
from pipeline.table.commit.append import repair, settle


@pytest.fixture(autouse=True)
def many(monkeypatch):
    """Every table counts as one of very many fragments."""
    monkeypatch.setattr(swap_module, "MANY", 0)


def intents(uri):
    return [key for key in VectorTable.open(uri).dataset().config() if key.startswith("moee.append.")]


def test_a_run_appends_and_leaves_no_intent(lab, uri):
    lab.drive(uri)
    lab.assert_exactly_once(uri)
    dataset = VectorTable.open(uri).dataset()
    kinds = [type(dataset.read_transaction(version).operation).__name__ for version in range(2, dataset.version + 1)]
    assert "Append" in kinds
    assert "Merge" not in kinds
    assert not intents(uri)


@pytest.mark.parametrize(("step", "count"), [("intended", 2), ("appended", 1), ("appended", 3)])
def test_driver_killed_between_the_steps_is_resumed(lab, uri, start_driver, step, count):
    process = start_driver(uri, "--append", "--die", step, count)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert intents(uri)
    lab.drive(uri, run="again", seed=count)
    lab.assert_exactly_once(uri)
    settle(TableLocation.parse(uri), "again")
    assert not intents(uri)
    lab.assert_exactly_once(uri)


def rival(lab, uri, monkeypatch, rows, rejects):
    """Between the intent and the append of whoever comes next, another driver appends `rows`."""
    location = TableLocation.parse(uri)
    other = stage(location, rows)
    done = []

    def reached(step):
        if step == "intended" and not done:
            done.append(step)
            fragments = [lance.fragment.FragmentMetadata.from_json(each) for each in other.fragments]
            newest = VectorTable.open(uri).dataset()
            lance.LanceDataset.commit(location.uri, lance.LanceOperation.Append(fragments), newest.version)

    monkeypatch.setattr(append_module, "reached", reached)
    return done


def test_the_same_slice_appended_by_two_stays_once(lab, uri, monkeypatch):
    lab.create(uri)
    rows, rejects = lab.read([(0, 0), (0, 2)])
    happened = rival(lab, uri, monkeypatch, rows, rejects)
    with Committer(TableLocation.parse(uri), "second", slices_of=lab.slices_of) as committer:
        committer.add(stage(committer.location, rows), rejects)
    assert happened
    stored = VectorTable.open(uri).dataset().to_table(columns=["id"])["id"].to_pylist()
    assert sorted(stored) == sorted(rows["id"].to_pylist())
    lab.drive(uri, run="third")
    lab.assert_exactly_once(uri)


def test_an_id_that_another_slice_took_meanwhile_becomes_a_reject(lab, uri, monkeypatch):
    lab.create(uri)
    location = TableLocation.parse(uri)
    mine, _ = lab.read([(0, 0)])
    others, rejects = lab.read([(1, 0)])  # both hold the id shared-0
    rival(lab, uri, monkeypatch, others, rejects)
    with Committer(location, "second", slices_of=lab.slices_of) as committer:
        committer.add(stage(location, mine))
    table = VectorTable.open(uri)
    stored = table.dataset().to_table(columns=["id", "source"]).to_pylist()
    assert [row["source"] for row in stored if row["id"] == "shared-0"] == ["file:///lab/1"]
    (reject,) = [row for row in table.rejects().to_pylist() if row["id"] == "shared-0"]
    assert (reject["source"], reject["reason"]) == ("file:///lab/0", "duplicate id")
    assert "file:///lab/1:2" in reject["detail"]


def test_what_a_dead_driver_owes_is_done_by_the_next(lab, uri, monkeypatch):
    """It died after an append that another driver's rows had come before."""

    class DeathError(Exception):
        pass

    def die(*_):
        raise DeathError

    lab.create(uri)
    rows, rejects = lab.read([(0, 0), (2, 1)])
    rival(lab, uri, monkeypatch, rows, rejects)
    monkeypatch.setattr(append_module, "_brought_rows", die)
    committer = Committer(TableLocation.parse(uri), "dies", slices_of=lab.slices_of)
    committer.add(stage(committer.location, rows), rejects)
    with pytest.raises(DeathError):
        committer.flush()
    monkeypatch.undo()
    assert VectorTable.open(uri).count_rows() == 2 * rows.num_rows
    assert intents(uri)
    lab.drive(uri, run="next")
    lab.assert_exactly_once(uri)
    assert repair(TableLocation.parse(uri), "again") == settle(TableLocation.parse(uri), "again") == 0
    assert not intents(uri)


@pytest.mark.parametrize("with_lease", [False, True])
def test_a_driver_that_slept_over_its_append_is_not_forgotten(lab, uri, monkeypatch, with_lease):
    """While it slept another one came, committed the same slice and, where it had the lease, tidied up."""

    class DeathError(Exception):
        pass

    lab.create(uri)
    location = TableLocation.parse(uri)
    rows, rejects = lab.read([(0, 0)])
    steps = []

    def sleep_and_die(step):
        steps.append(step)
        if steps == ["intended"]:
            if with_lease:
                settle(location, "other")
            with Committer(location, "other") as other:
                other.add(stage(location, rows), rejects)
        elif step == "appended" and steps.count("appended") > 1:
            raise DeathError

    monkeypatch.setattr(append_module, "reached", sleep_and_die)
    sleeper = Committer(location, "sleeps")
    sleeper.add(stage(location, rows), rejects)
    if with_lease:
        sleeper.flush()  # its append conflicted, and then it saw that the slice was there
    else:
        with pytest.raises(DeathError):
            sleeper.flush()
    monkeypatch.undo()
    settle(location, "next")
    assert not intents(uri)
    ids = VectorTable.open(uri).dataset().to_table(columns=["id"]).column("id")
    assert len(ids) == len(ids.unique()) == rows.num_rows


def test_an_answer_that_was_lost_counts_once(lab, uri, monkeypatch):
    lab.create(uri)
    rows, _ = lab.read([(0, 0)])
    commit = lance.LanceDataset.commit

    def lose_the_answer(*given, **named):
        commit(*given, **named)
        raise OSError("timed out")

    with Committer(TableLocation.parse(uri), "run", slices_of=lab.slices_of) as committer:
        committer.add(stage(committer.location, rows))
        monkeypatch.setattr(lance.LanceDataset, "commit", staticmethod(lose_the_answer))
        committer.flush()
        monkeypatch.setattr(lance.LanceDataset, "commit", commit)
    assert VectorTable.open(uri).count_rows() == rows.num_rows


def test_a_storage_that_refuses_is_an_error_and_nothing_is_added(lab, uri, monkeypatch):
    lab.create(uri)
    rows, _ = lab.read([(0, 0)])

    def refuse(*_, **__):
        raise OSError("503 Slow Down")

    committer = Committer(TableLocation.parse(uri), "run", slices_of=lab.slices_of)
    committer.add(stage(committer.location, rows))
    monkeypatch.setattr(lance.LanceDataset, "commit", refuse)
    with pytest.raises(TableError, match="503"):
        committer.flush()
    monkeypatch.undo()
    assert VectorTable.open(uri).count_rows() == 0
    lab.drive(uri, run="again")
    lab.assert_exactly_once(uri)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_drivers_race(lab, uri, tmp_path, start_driver, seed):
    gate = tmp_path / "gate"
    given = [(10 * seed + 1, 2, 8), (10 * seed + 2, 3, 12)]
    processes = [
        start_driver(uri, "--append", "--wait", gate, "--seed", one, "--bundle", bundle, "--max-rows", rows)
        for one, bundle, rows in given
    ]
    lab.open_gate(gate, processes)
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    lab.assert_exactly_once(uri)


def test_the_audit_keeps_the_oldest_whatever_the_batches(lab, uri):
    """Twins in any number, inside one file and across files; the audit is asked twice."""
    lab.create(uri)
    location = TableLocation.parse(uri)
    rows, _ = lab.read([(0, 0), (1, 3)])
    staged = [stage(location, part) for part in (rows, rows.slice(2), pa.concat_tables([rows.slice(4), rows]))]
    for each in staged:
        fragments = [lance.fragment.FragmentMetadata.from_json(text) for text in each.fragments]
        version = VectorTable.open(uri).dataset().version
        lance.LanceDataset.commit(location.uri, lance.LanceOperation.Append(fragments), version)
    before = VectorTable.open(uri).count_rows()
    assert append_module.audit(location, staged[0].fragments, "run") == before - rows.num_rows
    assert append_module.audit(location, staged[0].fragments, "run") == 0
    kept = VectorTable.open(uri).dataset().to_table(columns=["id", "vector"])
    assert kept["id"].to_pylist() == rows["id"].to_pylist()
    assert np.array_equal(np.array(kept["vector"].to_pylist()), np.array(rows["vector"].to_pylist()))
