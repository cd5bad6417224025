from __future__ import annotations

import time

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import CommitError, TableError, TableNotFoundError, UsageError
from pipeline.rejects import as_of_run
from pipeline.table import Committer, Ledger, Staged, TableLocation, VectorTable, stage, steps
from pipeline.table.changes.retry import Retry, missing_originals, rejects_that_can_pass
from pipeline.table.commit import committer as commit_module
from pipeline.table.companions.files import begin_files
from pipeline.table.companions.rejects import marked_slices
from pipeline.table.store import open_dataset


def rows_of(table_lab, *documents):
    return table_lab.as_rows(
        [
            {"id": name, "text": "t", "source": source, "slice": number, "row": row}
            for name, source, number, row in documents
        ]
    )


@pytest.fixture
def location(table_lab, uri):
    table_lab.create(uri)
    return TableLocation.parse(uri)


def contents(location):
    return sorted(open_dataset(location).to_table(columns=["id"]).column("id").to_pylist())


def test_whole_corpus(table_lab, uri):
    committer = table_lab.drive(uri)
    table_lab.assert_exactly_once(uri)
    assert committer.totals.rows == len(table_lab.expected_ids())
    assert committer.totals.rows + committer.totals.rejects == table_lab.FILES * table_lab.SLICES * table_lab.ROWS
    assert Ledger.load(TableLocation.parse(uri)).complete_files == {
        (f"file:///lab/{n}", "1") for n in range(table_lab.FILES)
    }


def test_staged_travels_as_a_table(table_lab, location):
    staged = stage(location, rows_of(table_lab, ("a", "s", 1, 0), ("b", "s", 1, 1)))
    again = Staged.from_table(staged.to_table())
    assert again.keys.equals(staged.keys)
    assert (again.fragments, again.schema_key) == (staged.fragments, staged.schema_key)
    assert again.n_rows == 2
    assert again.slices.to_pylist() == [1]


def test_nothing_staged(table_lab, location):
    staged = stage(location, rows_of(table_lab))
    assert (staged.n_rows, staged.fragments) == (0, ())
    with Committer(location, "r") as committer:
        committer.add(Staged.from_table(staged.to_table()))
    assert committer.totals.commits == 0


def test_first_committed_wins_across_and_within_commits(table_lab, location):
    with Committer(location, "first") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s1", 1, 0), ("b", "s1", 1, 1))))
    with Committer(location, "second") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s2", 2, 0), ("c", "s2", 2, 1))))
        committer.add(stage(location, rows_of(table_lab, ("c", "s3", 3, 0), ("d", "s3", 3, 1), ("d", "s3", 3, 2))))
    assert contents(location) == ["a", "b", "c", "d"]
    rejects = VectorTable.open(location).rejects().sort_by([("slice", "ascending"), ("row", "ascending")]).to_pylist()
    assert [(reject["id"], reject["slice"], reject["row"]) for reject in rejects] == [
        ("a", 2, 0),
        ("c", 3, 0),
        ("d", 3, 2),
    ]
    assert [reject["detail"].removeprefix("this id is held by ") for reject in rejects] == ["s1:0", "s2:1", "s3:1"]
    assert {(reject["stage"], reject["reason"], reject["run"]) for reject in rejects} == {
        ("commit", "duplicate id", "second")
    }


@pytest.mark.parametrize("unique_ids", [False, True])
def test_the_same_source_in_another_version_repeats_its_ids(table_lab, location, unique_ids):
    for number in (1, 2):
        with Committer(location, "r", unique_ids=unique_ids) as committer:
            committer.add(
                stage(location, rows_of(table_lab, ("x:0", "s", number, 0), (f"x:{number}", "s", number, number)))
            )
    assert contents(location) == ["x:0", "x:1", "x:2"]


def test_slice_delivered_twice_is_taken_once(table_lab, location):
    documents = [("a", "s", 1, 0), ("b", "s", 1, 1)]
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, *documents)))
        committer.add(stage(location, rows_of(table_lab, *documents, ("c", "s", 2, 0))))
        committer.flush()
        committer.add(stage(location, rows_of(table_lab, *documents)))
    assert contents(location) == ["a", "b", "c"]
    assert VectorTable.open(location).rejects().num_rows == 0


def test_a_duplicate_is_owed_until_its_original_is_in(table_lab, location):
    """A slice of nothing but duplicates is finished, but the duplicates are tried again if the original is lost."""
    rejects = [
        {
            "id": "a",
            "source": "s",
            "slice": 2,
            "row": 0,
            "stage": "check",
            "reason": "duplicate id",
            "detail": "",
        }
    ]
    with Committer(location, "r") as committer:
        committer.add(None, table_lab.as_rejects(rejects))
        committer.flush()
        assert Ledger.load(location).done.tolist() == [2]
        assert missing_originals(location).column("slice").to_pylist() == [2]
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
    assert Ledger.load(location).done.tolist() == [1, 2]
    assert missing_originals(location).num_rows == 0


def test_a_duplicate_whose_holder_never_came_is_tried_again(table_lab, location):
    """It was read beside a file that then changed, so that its rows were left to another run."""
    place = {"id": "a", "source": "s", "slice": 2, "row": 0}
    rejects = [{**place, "stage": "check", "reason": "duplicate id", "detail": ""}]
    with Committer(location, "r") as committer:
        committer.add(None, table_lab.as_rejects(rejects))
    retry = Retry.of(missing_originals(location), Ledger.load(location))
    assert retry.slices.tolist() == [2]
    with Committer(location, "r", retry=retry) as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 2, 0))))
    assert contents(location) == ["a"]
    assert VectorTable.open(location).rejects().num_rows == 0


def test_a_reject_never_makes_a_slice_look_finished_whose_rows_are_missing(table_lab, location, monkeypatch):
    """A driver that dies between rejects and swap has finished nothing, whatever it has rejected."""
    reject = {"id": "b", "source": "s", "slice": 1, "row": 1, "stage": "check", "reason": "empty", "detail": ""}

    def dies(step):
        if step == "rejects written":
            raise TableError("the storage is away")

    with monkeypatch.context() as patch:
        patch.setattr(steps, "reached", dies)
        with pytest.raises(TableError), Committer(location, "dies") as committer:
            committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))), table_lab.as_rejects([reject]))
    assert VectorTable.open(location).rejects().num_rows == 1
    assert Ledger.load(location).done.tolist() == []
    with Committer(location, "next") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))), table_lab.as_rejects([reject]))
    assert Ledger.load(location).done.tolist() == [1]
    assert VectorTable.open(location).rejects().num_rows == 1


def test_a_slice_is_marked_only_after_the_swap(table_lab, location, monkeypatch):
    """Before it, rows of other slices may still be refused or lost; a mark would then be the last word on them."""
    reject = {"id": "b", "source": "s", "slice": 2, "row": 0, "stage": "check", "reason": "empty", "detail": ""}
    seen = []
    monkeypatch.setattr(steps, "reached", lambda step: seen.append((step, marked_slices(location).tolist())))
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))), table_lab.as_rejects([reject]))
    marks = dict(seen)
    assert (marks["committed"], marks["slices marked"]) == ([], [2])


def test_a_mark_goes_when_rows_of_its_slice_come_in_after_all(table_lab, location):
    reject = {"id": "b", "source": "s", "slice": 2, "row": 0, "stage": "embed", "reason": "other", "detail": ""}
    with Committer(location, "r") as committer:
        committer.add(None, table_lab.as_rejects([reject]))
    assert marked_slices(location).tolist() == [2]
    retry = Retry.of(rejects_that_can_pass(location), Ledger.load(location))
    with Committer(location, "again", retry=retry) as committer:
        committer.add(stage(location, rows_of(table_lab, ("b", "s", 2, 0))))
    assert marked_slices(location).tolist() == []
    assert Ledger.load(location).done.tolist() == [2]


def test_unreadable_slice_is_finished(table_lab, location):
    rejects = [
        {
            "id": None,
            "source": "s",
            "slice": 7,
            "row": -1,
            "stage": "read",
            "reason": "unreadable",
            "detail": "x",
        }
    ]
    with Committer(location, "r") as committer:
        committer.add(None, table_lab.as_rejects(rejects))
    assert Ledger.load(location).done.tolist() == [7]


def test_every_change_in_between_makes_the_swap_lose(table_lab, location, monkeypatch):
    """Appends, deletes and compactions between admission and swap; an index build may pass."""
    with Committer(location, "r") as committer:
        for number in range(3):
            committer.add(stage(location, rows_of(table_lab, (f"old{number}", "s", number, 0))))
            committer.flush()
    changes = iter(
        [
            lambda data: data.insert(rival(data, "rival")),
            lambda data: data.delete("id = 'old0'"),
            lambda data: data.optimize.compact_files(),
            lambda data: data.create_scalar_index("id", "BTREE"),
        ]
    )
    swaps = []

    def reached(step):
        change = next(changes, None) if step == "rejects written" else None
        swaps.append(step)
        if change:
            change(open_dataset(location))

    monkeypatch.setattr(steps, "reached", reached)
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, ("new", "s", 9, 0), ("rival", "s", 9, 1))))
    assert contents(location) == ["new", "old1", "old2", "rival"]
    assert swaps.count("rejects written") == 4
    assert VectorTable.open(location).rejects().column("id").to_pylist() == ["rival"]
    assert [index.name for index in open_dataset(location).describe_indices()] == ["id_idx"]


def rival(dataset, name):
    table = pa.table(
        {"id": [name], "vector": pa.array([[0.5] * 8], pa.list_(pa.float16(), 8)), "slice": [77], "row": [0]}
    )
    missing = [field for field in dataset.schema if field.name not in table.column_names]
    for field in missing:
        table = table.append_column(field, pa.nulls(1, field.type))
    return table.select(dataset.schema.names).cast(dataset.schema)


def test_a_rival_that_always_wins_ends_in_a_commit_error(table_lab, location, monkeypatch):
    monkeypatch.setattr(commit_module, "swap", lambda *given, **options: False)
    monkeypatch.setattr(commit_module.time, "sleep", lambda seconds: None)
    committer = Committer(location, "r")
    committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
    with pytest.raises(CommitError, match="50 attempts"):
        committer.flush()
    with pytest.raises(CommitError):
        committer.add(None)
    committer._collector.stop()


def test_commit_that_landed_although_it_reported_failure(table_lab, location, monkeypatch):
    real = lance.LanceDataset.commit

    def commit(*args, **kwargs):
        real(*args, **kwargs)
        raise OSError("connection reset")

    monkeypatch.setattr(lance.LanceDataset, "commit", commit)
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
    assert contents(location) == ["a"]
    assert committer.totals.rows == 1


def test_commit_that_failed_is_an_error(table_lab, location, monkeypatch):
    def commit(*args, **kwargs):
        raise OSError("disk full, /rust/lance/src/io.rs:12:3")

    monkeypatch.setattr(lance.LanceDataset, "commit", commit)
    committer = Committer(location, "r")
    committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
    with pytest.raises(TableError, match=r"cannot commit to .*lab: disk full$"):
        committer.close()


def test_columns_added_after_staging(table_lab, location):
    """Committed as it is, such a fragment would make the table unreadable: it is written again."""
    staged = stage(location, rows_of(table_lab, ("a", "s", 1, 0)))
    dataset = open_dataset(location)
    dataset.add_columns(pa.field("topic", pa.int32()))
    dataset.drop_columns(["n_tokens"])
    with Committer(location, "r") as committer:
        committer.add(staged)
    assert open_dataset(location).to_table(columns=["id", "topic"]).to_pylist() == [{"id": "a", "topic": None}]


def test_timer_commits_the_tail(table_lab, location):
    with Committer(location, "r", max_seconds=0.1) as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
        deadline = time.monotonic() + 60
        while not committer.totals.commits:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert contents(location) == ["a"]
    assert committer.totals.commits == 1


def test_timer_failure_is_raised_by_the_next_call(table_lab, location, monkeypatch):
    def fail(*given, **options):
        raise TableError("no")

    monkeypatch.setattr(commit_module, "swap", fail)
    committer = Committer(location, "r", max_seconds=0.05)
    committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
    deadline = time.monotonic() + 60
    while committer._collector._failure is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(TableError, match="no"):
        committer.add(None)
    committer._collector.stop()


def test_an_interrupted_block_still_commits_what_it_has(table_lab, location):
    def run():
        with Committer(location, "r") as committer:
            committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert contents(location) == ["a"]


def test_a_file_whose_slices_nobody_knows_is_not_recorded(table_lab, location):
    begin_files(location, [("s", "1")], "r")
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0))), None, [table_lab.Record("s")])
    assert Ledger.load(location).complete_files == set()


def test_a_file_waits_for_all_its_slices(table_lab, location):
    begin_files(location, [("s", "1")], "r")
    with Committer(location, "r", slices_of=lambda record: [1, 2]) as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 2, 0))), None, [table_lab.Record("s")])
        committer.flush()
        assert Ledger.load(location).complete_files == set()
        committer.add(stage(location, rows_of(table_lab, ("b", "s", 1, 0))))
        committer.flush()
        assert Ledger.load(location).complete_files == {("s", "1")}


def test_rows_that_do_not_fit(table_lab, location):
    with pytest.raises(UsageError, match="'colour' is not in the table"):
        stage(location, rows_of(table_lab, ("a", "s", 1, 0)).append_column("colour", pa.array(["red"])))
    with pytest.raises(UsageError, match="'id' must not be null"):
        stage(location, rows_of(table_lab, (None, "s", 1, 0)))
    with pytest.raises(UsageError, match="'row' is missing"):
        stage(location, rows_of(table_lab, ("a", "s", 1, 0)).drop_columns(["row"]))


def test_large_strings_are_stored_as_strings(table_lab, location):
    rows = rows_of(table_lab, ("a", "s", 1, 0))
    rows = rows.set_column(1, "text", rows.column("text").cast(pa.large_string()))
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows))
    assert open_dataset(location).schema.field("text").type == pa.string()


def test_no_table(tmp_path, table_lab):
    nowhere = TableLocation.parse(str(tmp_path / "lake" / "none"))
    with pytest.raises(TableNotFoundError):
        stage(nowhere, rows_of(table_lab))
    with pytest.raises(TableNotFoundError):
        Committer(nowhere, "r")
    with pytest.raises(TableNotFoundError):
        Ledger.load(nowhere)


def test_ledger_membership():
    ledger = Ledger(stored=np.array([-5, 1, 9]), marked=np.array([2]))
    assert ledger.is_stored(np.array([9, 10, -5, -6, 2])).tolist() == [True, False, True, False, False]
    assert ledger.are_done([1, 2, 9])
    assert not ledger.are_done([1, 3])
    assert ledger.are_done([])
    assert ledger.done.tolist() == [-5, 1, 2, 9]
    assert Ledger().is_stored(np.array([1])).tolist() == [False]


def test_a_row_in_the_table_outweighs_its_reject(table_lab, location):
    """What a driver leaves that died between rejects and swap; tombstones and other rejects stay."""
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "s", 1, 0), ("b", "s", 1, 1))))
    why = {"source": "s", "slice": 1, "detail": ""}
    left = [
        {"id": "a", "row": 0, "stage": "check", "reason": "duplicate id", **why},
        {"id": "b", "row": 1, "stage": "embed", "reason": "killed the process", **why},
        {"id": "c", "row": 2, "stage": "check", "reason": "duplicate id", **why},
    ]
    commit_module.write_rejects(location, as_of_run(table_lab.as_rejects(left), "dead"))
    assert VectorTable.open(location).rejects().num_rows == 3
    Committer(location, "next").close()
    assert VectorTable.open(location).rejects().column("id").to_pylist() == ["c"]
