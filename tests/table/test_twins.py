"""Duplicates whose holder goes: they are told from those whose holder stays, and no crash forgets one."""

from __future__ import annotations

import pytest

from pipeline.errors import TableError
from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage
from pipeline.table.changes.duplicates import release_twins
from pipeline.table.changes.pruning import prune
from pipeline.table.changes.retry import Retry
from pipeline.table.commit import committer as commit_module
from pipeline.table.companions.files import begin_files
from pipeline.table.companions.rejects import WIDOWED
from pipeline.table.companions.runs import finish_run, start_run
from pipeline.table.upkeep.after_crashes import tidy_if_needed

ROWS = [
    *({"id": f"a{row}", "text": f"text {row}", "source": "s", "slice": 1, "row": row} for row in range(4)),
    {"id": "t0", "text": "another", "source": "t", "slice": 2, "row": 0},
]
REJECTS = [
    ("a0", "duplicate id", 1),
    ("a1", "duplicate id", 2),
    ("t0", "duplicate id", 3),
    ("x", "duplicate of a2", 4),
    ("y", "duplicate of t0", 5),
    ("z", "empty", 6),
    ("a3", "duplicate id", 7),
    ("w", "duplicate of a1", 8),
]


@pytest.fixture
def location(lab, uri):
    """File s with four documents, t with one, and u, whose rows all repeat something but one."""
    lab.create(uri)
    location = TableLocation.parse(uri)
    files = [lab.Record("s", "1", 1), lab.Record("t", "1", 1), lab.Record("u", "1", 1)]
    begin_files(location, [(file.uri, file.version) for file in files], "r")
    rejects = [
        {"id": name, "source": "u", "slice": 3, "row": row, "stage": "commit", "reason": reason, "detail": "",
         "slice_rows": 9} for name, reason, row in REJECTS
    ]  # fmt: skip
    numbers = {"s": [1], "t": [2], "u": [3]}
    own = [{"id": "u0", "text": "its own", "source": "u", "slice": 3, "row": 0}]
    with Committer(location, "r", slices_of=lambda record: numbers[record.uri]) as committer:
        committer.add(stage(location, lab.as_rows([*ROWS, *own])), lab.as_rejects(rejects), files)
    return location


def reasons(location):
    return {row["id"]: row["reason"] for row in VectorTable.open(location).rejects().to_pylist()}


def exchange(location, lab, run="again"):
    """File s becomes another one, with a1 alone in it."""
    record = lab.Record("s", "2", 1)
    begin_files(location, [("s", "2")], run)
    rows = lab.as_rows([{"id": "a1", "text": "new", "source": "s", "slice": 9, "row": 0}])
    with Committer(location, run, slices_of=lambda _: [9], changed={"s": "2"}) as committer:
        committer.add(stage(location, rows), None, [record])


def assert_released(location):
    widowed = dict.fromkeys(["a0", "a3", "x", "w"], WIDOWED)  # a1 is there, with another text
    assert reasons(location) == {name: widowed.get(name, reason) for name, reason, _ in REJECTS}
    retry = Retry.load(location, Ledger.load(location), asked=False)
    assert retry.rows.select(["slice", "row"]).to_pylist() == [{"slice": 3, "row": row} for row in (1, 4, 7, 8)]
    assert retry.sources == {"u"}


def test_those_whose_holder_stays_stay_as_they_are(location):
    before = reasons(location)
    assert release_twins(location) == 0
    assert reasons(location) == before
    assert Retry.load(location, Ledger.load(location), asked=False) is None


def test_an_exchange_releases_those_of_its_old_rows(location, lab):
    exchange(location, lab)
    assert_released(location)
    assert release_twins(location) == 0


def test_a_pruning_releases_them_too(location):
    prune(location, ["s"])
    assert {name for name, reason in reasons(location).items() if reason == WIDOWED} == {"a0", "a1", "a3", "w", "x"}


def test_a_deleted_document_releases_none(location):
    VectorTable.open(location).delete(["a0", "a2"])
    before = reasons(location)
    assert release_twins(location) == 0
    assert reasons(location) == before


def test_what_dies_before_they_are_released_does_it_next_time(location, lab, monkeypatch):
    def dies(*_):
        raise TableError("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(commit_module, "release_twins", dies)
        with pytest.raises(TableError):
            exchange(location, lab)
    assert VectorTable.open(location).dataset().count_rows("source = 's'") == 1, "the exchange itself took place"
    assert WIDOWED not in reasons(location).values()
    exchange(location, lab, "next")
    assert_released(location)


def test_a_copy_stays_one_while_its_holder_keeps_the_text(location, lab):
    begin_files(location, [("s", "2")], "again")
    rows = [{"id": "a1", "text": "text 1", "source": "s", "slice": 9, "row": 0}]
    with Committer(location, "again", slices_of=lambda _: [9], changed={"s": "2"}) as committer:
        committer.add(stage(location, lab.as_rows(rows)), None, [lab.Record("s", "2", 1)])
    assert {name for name, reason in reasons(location).items() if reason == WIDOWED} == {"a0", "a3", "x"}


@pytest.mark.parametrize("step", ["reopened", "deleted"])
def test_a_pruning_that_dies_has_released_them_or_deleted_nothing(location, step):
    def reached(name):
        if name == step:
            raise TableError("the storage is away")

    with pytest.raises(TableError):
        prune(location, ["s"], reached=reached)
    gone = not VectorTable.open(location).dataset().count_rows("source = 's'")
    assert gone == (step == "deleted")
    assert (WIDOWED in reasons(location).values()) == gone


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted", None])
def test_after_a_run_that_did_not_end_well_all_are_looked_at(location, status):
    """Its readers may have compared documents with some that never came to be committed."""
    start_run(location, "one", {})
    VectorTable.open(location).dataset().delete("id = 'a1'")
    if status is not None:
        finish_run(location, "one", status)
    assert tidy_if_needed(location, "two") == (status != "finished")
    assert {name for name, reason in reasons(location).items() if reason == WIDOWED} == (
        set() if status == "finished" else {"a1", "w"}
    )


def test_the_duplicate_of_a_row_that_was_refused_as_a_copy_is_released(lab, uri):
    lab.create(uri)
    location = TableLocation.parse(uri)
    names = [("z", "one", "s", 1), ("a", "one", "s", 2), ("a", "two", "t", 3)]
    rows = [{"id": name, "text": text, "source": file, "slice": number, "row": 0} for name, text, file, number in names]
    with Committer(location, "r", drop_copies=True) as committer:
        committer.add(stage(location, lab.as_rows(rows)))
    rejects = VectorTable.open(location).rejects().to_pylist()
    assert {(row["source"], row["reason"]) for row in rejects} == {("s", "duplicate of z"), ("t", WIDOWED)}
