"""A file that returns to its older version after a driver has died: nothing of it counts as finished that is not there.

Slice 1 of version A holds documents, slice 2 rejects only, slice 3 a document that was deleted for good. Version B has
neither. The driver that brings B dies at any step, then A is there again.
"""

from __future__ import annotations

import pytest

from pipeline.errors import TableError
from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage, steps
from pipeline.table.changes.pruning import prune
from pipeline.table.companions.files import begin_files, read_files
from pipeline.table.companions.journal import read_journal
from pipeline.table.companions.rejects import marked_slices

URI = "file:///lab/s"
CONTENT = {
    "A": {1: [("a", "one"), ("b", "two")], 2: [("e", " "), ("f", " ")], 3: [("d", "deleted")]},
    "B": {11: [("a", "other")], 12: [("g", " ")]},
}
DELETED = {"d"}


class Record:
    uri, rows = URI, 1

    def __init__(self, version):
        self.version, self.slices = version, len(CONTENT[version])


def run(table_lab, location, version):
    """One run over the file as it is now, as a plan would make it: what is finished or staged is left out."""
    known = {row["version"] for row in read_files(location).to_pylist()}
    begin_files(location, [(URI, version)], version)
    changed = {URI: version} if known - {version} else {}
    with Committer(
        location, f"run {version}", slices_of=lambda record: list(CONTENT[record.version]), changed=changed
    ) as committer:
        staged = read_journal(location)
        there = set(Ledger.load(location).done.tolist())
        there |= {row["slice"] for row in staged.to_pylist() if row["version"] == version}
        for number in CONTENT[version].keys() - there:
            rows, rejects = [], []
            for row, (name, text) in enumerate(CONTENT[version][number]):
                place = {"id": name, "source": URI, "slice": number, "row": row}
                if text.strip():
                    rows.append({**place, "text": text})
                else:
                    rejects.append({**place, "stage": "check", "reason": "empty", "detail": ""})
            committer.add(stage(location, table_lab.as_rows(rows)), table_lab.as_rejects(rejects))
        committer.add(None, None, [Record(version)])


def made(table_lab, folder):
    location = TableLocation.parse(f"{folder}/lake/docs")
    table_lab.create(str(location))
    run(table_lab, location, "A")
    VectorTable.open(location).delete(sorted(DELETED))
    return location


def accounted(location, version):
    """Which documents are held, and which rejected, by id."""
    table = VectorTable.open(location)
    held = table.dataset().to_table(columns=["id"]).column("id").to_pylist()
    refused = table.rejects().column("id").to_pylist()
    everything = {name: text for rows in CONTENT[version].values() for name, text in rows}
    good = sorted(name for name, text in everything.items() if text.strip() and name not in DELETED)
    empty = {name for name, text in everything.items() if not text.strip()}
    assert sorted(held) == good
    assert set(refused) - DELETED == empty
    assert len(refused) == len(set(refused))


def dies_at(monkeypatch, number):
    """Let the `number`-th step be the last; returns the steps so far."""
    taken = []

    def reached(step):
        taken.append(step)
        if len(taken) == number:
            raise TableError(f"died at {step}")

    monkeypatch.setattr(steps, "reached", reached)
    return taken


def test_at_every_step_of_the_newer_version(table_lab, tmp_path, monkeypatch):
    for number in range(1, 40):
        location = made(table_lab, tmp_path / str(number))
        with monkeypatch.context() as patch:
            taken = dies_at(patch, number)
            try:
                run(table_lab, location, "B")
            except TableError as error:
                died = str(error)
            else:
                assert {"committed", "slices marked", "marks removed", "finished"} <= set(taken)
                return
        run(table_lab, location, "A")
        accounted(location, "A")
        assert set(marked_slices(location).tolist()) <= {2, 3}, died
        assert Ledger.load(location).are_done([1, 2, 3]), died
    pytest.fail("the run never came to its end")


def test_at_every_step_of_pruning(table_lab, tmp_path, monkeypatch):
    for number in range(1, 20):
        location = made(table_lab, tmp_path / str(number))
        with monkeypatch.context() as patch:
            dies_at(patch, number)
            try:
                prune(location, [URI])
            except TableError:
                pass
            else:
                return
        run(table_lab, location, "A")
        accounted(location, "A")
    pytest.fail("the pruning never came to its end")


def test_a_slice_of_which_one_document_was_deleted_is_read_again(table_lab, tmp_path, monkeypatch):
    """Its other documents went with their file, not by deletion, so it must not count as finished."""
    location = TableLocation.parse(tmp_path / "lake" / "docs")
    table_lab.create(str(location))
    run(table_lab, location, "A")

    def reached(step):
        if step == "journaled":
            assert VectorTable.open(location).delete(["a"]) == 1
        if step == "committed":
            raise TableError("died")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "reached", reached)
        with pytest.raises(TableError):
            run(table_lab, location, "B")
    run(table_lab, location, "A")
    held = VectorTable.open(location).dataset().to_table(columns=["id"]).column("id").to_pylist()
    assert sorted(held) == ["b", "d"]


@pytest.mark.parametrize("step", ["deleted written", "slices marked"])
def test_a_deletion_that_dies_is_done_by_the_next(table_lab, tmp_path, monkeypatch, step):
    location = TableLocation.parse(tmp_path / "lake" / "docs")
    table_lab.create(str(location))
    run(table_lab, location, "A")

    def reached(name):
        if name == step:
            raise TableError("died")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "reached", reached)
        with pytest.raises(TableError):
            VectorTable.open(location).delete(["d"])
    assert VectorTable.open(location).count_rows() == 3, "the row is still there, and may be deleted again"
    run(table_lab, location, "A")
    assert marked_slices(location).tolist() == [2], "a mark counts for nothing where there are rows"
    assert VectorTable.open(location).delete(["d"]) == 1
    assert marked_slices(location).tolist() == [2, 3]
    run(table_lab, location, "B")
    run(table_lab, location, "A")
    accounted(location, "A")
