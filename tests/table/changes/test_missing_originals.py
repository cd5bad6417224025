"""Duplicates whose original goes: they are told from those whose original stays, and no crash forgets one."""

from __future__ import annotations

import pytest

from pipeline.errors import TableError
from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage, steps
from pipeline.table.changes.pruning import prune
from pipeline.table.changes.retry import Retry, missing_originals, no_row_has_left
from pipeline.table.companions.deleted import text_marks
from pipeline.table.companions.files import begin_files

TEXTS = {"a1": "text 1", "a2": "text 2", "t0": "another"}
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


def detail(reason):
    original = reason.removeprefix("duplicate of ")
    if original == reason:
        return ""
    import pyarrow as pa

    return f"the same text as s:1, mark {text_marks(pa.array([TEXTS[original]]))[0]}"


@pytest.fixture
def location(table_lab, uri):
    """File s with four documents, t with one, and u, whose rows all repeat something but one."""
    table_lab.create(uri)
    location = TableLocation.parse(uri)
    files = [table_lab.Record("s", "1", 1), table_lab.Record("t", "1", 1), table_lab.Record("u", "1", 1)]
    begin_files(location, [(file.uri, file.version) for file in files], "r")
    rejects = [
        {"id": name, "source": "u", "slice": 3, "row": row, "stage": "commit", "reason": reason,
         "detail": detail(reason)} for name, reason, row in REJECTS
    ]  # fmt: skip
    numbers = {"s": [1], "t": [2], "u": [3]}
    own = [{"id": "u0", "text": "its own", "source": "u", "slice": 3, "row": 0}]
    with Committer(location, "r", slices_of=lambda record: numbers[record.uri]) as committer:
        committer.add(stage(location, table_lab.as_rows([*ROWS, *own])), table_lab.as_rejects(rejects), files)
    return location


def missing(location, **given):
    return set(missing_originals(location, **given).column("id").to_pylist())


def replace_file(location, table_lab, text="new", run="again"):
    """File s becomes another one, with a1 alone in it."""
    record = table_lab.Record("s", "2", 1)
    begin_files(location, [("s", "2")], run)
    rows = table_lab.as_rows([{"id": "a1", "text": text, "source": "s", "slice": 9, "row": 0}])
    with Committer(location, run, slices_of=lambda _: [9], changed={"s": "2"}) as committer:
        committer.add(stage(location, rows), None, [record])


def test_none_is_missing_while_all_originals_stay(location):
    assert missing(location) == set()
    assert Retry.of(missing_originals(location), Ledger.load(location)) is None


def test_those_of_rows_that_a_new_version_replaced_are_missing(location, table_lab):
    replace_file(location, table_lab)
    assert missing(location) == {"a0", "a3", "x", "w"}, "a1 is there, with another text"
    retry = Retry.of(missing_originals(location), Ledger.load(location))
    assert retry.rows.select(["slice", "row"]).to_pylist() == [{"slice": 3, "row": row} for row in (1, 4, 7, 8)]
    assert retry.sources == {"u"}


def test_those_of_pruned_files_are_missing(location):
    prune(location, ["s"])
    assert missing(location) == {"a0", "a1", "a3", "w", "x"}


def test_those_of_rows_deleted_with_plain_lance_are_missing(location):
    VectorTable.open(location).dataset().delete("id = 'a1'")
    assert missing(location) == {"a1", "w"}


def test_a_document_that_was_deleted_for_good_still_counts_as_an_original(location):
    VectorTable.open(location).delete(["a0", "a2"])
    assert missing(location) == set()


def test_a_copy_stays_one_while_its_original_keeps_the_text(location, table_lab):
    replace_file(location, table_lab, text="text 1")
    assert missing(location) == {"a0", "a3", "x"}


@pytest.mark.parametrize("step", ["committed", "slices marked"])
def test_a_driver_that_dies_after_the_rows_have_gone_forgets_none(location, table_lab, monkeypatch, step):
    def dies(name):
        if name == step:
            raise TableError("the storage is away")

    monkeypatch.setattr(steps, "reached", dies)
    with pytest.raises(TableError):
        replace_file(location, table_lab)
    assert VectorTable.open(location).dataset().count_rows("source = 's'") == 1, "the replacement itself took place"
    assert missing(location) == {"a0", "a3", "x", "w"}


def test_the_duplicate_of_a_row_that_was_refused_as_a_copy_is_missing_its_original(table_lab, uri):
    table_lab.create(uri)
    location = TableLocation.parse(uri)
    names = [("z", "one", "s", 1), ("a", "one", "s", 2), ("a", "two", "t", 3)]
    rows = [{"id": name, "text": text, "source": file, "slice": number, "row": 0} for name, text, file, number in names]
    with Committer(location, "r", drop_copies=True) as committer:
        committer.add(stage(location, table_lab.as_rows(rows)))
    rejects = VectorTable.open(location).rejects().to_pylist()
    assert {(row["source"], row["reason"]) for row in rejects} == {("s", "duplicate of z"), ("t", "duplicate id")}
    assert missing(location) == {"a"}


def test_nothing_is_looked_up_while_no_row_has_left_since_it_was_last_answered(location, table_lab):
    version = VectorTable.open(location).dataset().version
    with Committer(location, "more") as committer:
        committer.add(
            stage(location, table_lab.as_rows([{"id": "b", "text": "b", "source": "v", "slice": 4, "row": 0}]))
        )
    dataset = VectorTable.open(location).dataset()
    assert dataset.version > version
    assert no_row_has_left(dataset, version)
    dataset.delete("id = 'a1'")
    assert not no_row_has_left(dataset, version)
    assert missing(location, settled_version=version) == {"a1", "w"}


def test_a_version_that_is_no_longer_there_proves_nothing(location):
    dataset = VectorTable.open(location).dataset()
    assert not no_row_has_left(dataset, 10_000)
