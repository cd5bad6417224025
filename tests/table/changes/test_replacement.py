"""Changed files: their rows are exchanged in one commit, under any reader's eyes, through any index."""

from __future__ import annotations

import threading

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.table import Committer, TableLocation, VectorTable, stage, steps
from pipeline.table.changes.pruning import prune
from pipeline.table.changes.retry import missing_originals
from pipeline.table.companions.files import begin_files, read_files, record_files
from pipeline.table.companions.journal import read_journal, staged_files
from pipeline.table.fragments.staging import fragment_paths


@pytest.fixture
def location(table_lab, uri):
    table_lab.create(uri)
    return TableLocation.parse(uri)


def rows_of(table_lab, *documents):
    names = ("id", "text", "source", "slice", "row")
    return table_lab.as_rows([dict(zip(names, document, strict=True)) for document in documents])


def reject(slice_, row, reason, *, name=None, source="s"):
    why = {"stage": "read", "reason": reason, "detail": ""}
    return {"id": name, "source": source, "slice": slice_, "row": row, **why}


def add(location, table_lab, rows=(), rejects=(), *, record, slices, changed=False, run="r"):
    """One run over one file, whose slices are `slices`."""
    begin_files(location, [(record.uri, record.version)], run)
    versions = {record.uri: record.version} if changed else None
    with Committer(location, run, slices_of=lambda _: slices, changed=versions) as committer:
        committer.add(
            stage(location, rows_of(table_lab, *rows)), table_lab.as_rejects(rejects) if rejects else None, [record]
        )
    return committer


def contents(location):
    rows = VectorTable.open(location).dataset().to_table(columns=["id", "text"]).to_pylist()
    return sorted((row["id"], row["text"]) for row in rows)


def recorded(location):
    return sorted((row["version"], row["complete"]) for row in read_files(location).to_pylist())


def test_every_version_of_the_table_shows_one_version_of_the_file(table_lab, uri):
    table_lab.drive(uri)
    committer, staged = table_lab.exchange(uri, bundle=1, max_rows=5)
    table_lab.assert_exchanged(uri)
    assert staged == len(table_lab.new_places())
    assert committer.totals.replaced_files == [f"file:///lab/{file}" for file in table_lab.CHANGED]
    assert committer.totals.rows == len(table_lab.new_places()) * (table_lab.ROWS - 1)
    assert committer.totals.outdated_rows > 0
    assert table_lab.versions_shown(uri)[-1] == {f"file:///lab/{file}": {"2"} for file in table_lab.CHANGED}


def test_a_reader_that_polls_sees_all_of_one_version(table_lab, uri):
    table_lab.drive(uri)
    stop, seen = threading.Event(), []

    def look():
        rows = lance.dataset(f"{uri}.lance").to_table(columns=["source", "text"], filter="source LIKE '%/0'")
        seen.append((rows.num_rows, {text.startswith("version 2") for text in rows["text"].to_pylist()}))

    def poll():
        while not stop.is_set():
            look()

    look()
    reader = threading.Thread(target=poll)
    reader.start()
    try:
        table_lab.exchange(uri, bundle=1, max_rows=5)
    finally:
        stop.set()
        reader.join()
    look()
    assert len(set(map(str, seen))) == 2
    assert all(count and len(kinds) == 1 for count, kinds in seen)


def test_the_same_ids_are_no_duplicates_and_others_still_are(table_lab, location):
    add(location, table_lab, [("x", "other", "o", 9, 0)], record=table_lab.Record("o", "1", 1), slices=[9])
    add(
        location,
        table_lab,
        [("a", "1", "s", 1, 0), ("b", "1", "s", 1, 1)],
        record=table_lab.Record("s", "1", 1),
        slices=[1],
    )
    new = [("b", "2", "s", 2, 0), ("x", "2", "s", 2, 1), ("c", "2", "s", 2, 2)]
    committer = add(location, table_lab, new, record=table_lab.Record("s", "2", 1), slices=[2], changed=True)
    assert contents(location) == [("b", "2"), ("c", "2"), ("x", "other")]
    assert (committer.totals.rows, committer.totals.outdated_rows, committer.totals.rejects) == (2, 2, 1)
    (twin,) = VectorTable.open(location).rejects().to_pylist()
    assert (twin["id"], twin["detail"]) == ("x", "this id is held by o:0")
    assert ("2", True) in recorded(location)


def test_rejects_of_the_older_version_go_and_tombstones_stay(table_lab, location):
    rejects = [reject(1, 2, "empty", name="e"), reject(1, 3, "malformed row")]
    rows = [("a", "1", "s", 1, 0), ("b", "1", "s", 1, 1)]
    add(location, table_lab, rows, rejects, record=table_lab.Record("s", "1", 1), slices=[1])
    assert VectorTable.open(location).delete(["a"]) == 1
    new = [("a", "2", "s", 2, 0), ("b", "2", "s", 2, 1)]
    add(
        location,
        table_lab,
        new,
        [reject(2, 2, "empty")],
        record=table_lab.Record("s", "2", 1),
        slices=[2],
        changed=True,
    )
    assert contents(location) == [("b", "2")]
    found = VectorTable.open(location).rejects().to_pylist()
    assert sorted((row["reason"], row["slice"]) for row in found) == [("deleted", 2), ("empty", 2)]
    back = [("a", "3", "s", 1, 0), ("b", "3", "s", 1, 1)]
    add(location, table_lab, back, record=table_lab.Record("s", "1", 1), slices=[1], changed=True)
    assert contents(location) == [("b", "3")]


@pytest.mark.parametrize("rows", [[], [("a", "2", "s", 2, 0)]])
def test_a_new_version_that_cannot_be_read_exchanges_nothing(table_lab, location, rows, caplog):
    add(
        location,
        table_lab,
        [("a", "1", "s", 1, 0), ("b", "1", "s", 1, 1)],
        record=table_lab.Record("s", "1", 1),
        slices=[1],
    )
    broken = [reject(3, -1, "unreadable"), reject(2, 7, "empty")]
    committer = add(
        location, table_lab, rows, broken, record=table_lab.Record("s", "2", 1), slices=[2, 3], changed=True
    )
    assert contents(location) == [("a", "1"), ("b", "1")]
    assert (committer.totals.unreadable_files, committer.totals.replaced_files) == (["s"], [])
    assert "s has changed, but cannot be read to its end" in caplog.text
    assert VectorTable.open(location).rejects().column("reason").to_pylist() == ["unreadable"]
    assert recorded(location) == [("1", True), ("2", True)]
    add(location, table_lab, [("b", "3", "s", 4, 0)], record=table_lab.Record("s", "3", 1), slices=[4], changed=True)
    assert contents(location) == [("b", "3")]
    assert recorded(location) == [("3", True)]
    assert VectorTable.open(location).rejects().num_rows == 0


def test_what_can_be_read_of_a_file_without_rows_comes(table_lab, location):
    add(location, table_lab, [], [reject(1, -1, "unreadable")], record=table_lab.Record("s", "1", 1), slices=[1])
    broken = [reject(3, -1, "unreadable")]
    rows = [("a", "2", "s", 2, 0)]
    committer = add(
        location, table_lab, rows, broken, record=table_lab.Record("s", "2", 1), slices=[2, 3], changed=True
    )
    assert contents(location) == [("a", "2")]
    assert committer.totals.unreadable_files == []


def test_a_file_that_became_empty_loses_its_rows(table_lab, location):
    add(location, table_lab, [("a", "1", "s", 1, 0)], record=table_lab.Record("s", "1", 1), slices=[1])
    add(location, table_lab, [("b", "1", "t", 2, 0)], record=table_lab.Record("t", "1", 1), slices=[2])
    committer = add(location, table_lab, [], record=table_lab.Record("s", "2", 0), slices=[], changed=True)
    assert contents(location) == [("b", "1")]
    assert committer.totals.outdated_rows == 1


def test_an_unfinished_file_waits_in_the_journal_and_its_fragments_are_no_orphans(table_lab, location):
    add(location, table_lab, [("a", "1", "s", 1, 0)], record=table_lab.Record("s", "1", 1), slices=[1])
    staged = stage(location, rows_of(table_lab, ("a", "2", "s", 2, 0)))
    with Committer(location, "r", slices_of=lambda _: [2, 3], changed={"s": "2"}) as committer:
        committer.add(staged, None, [table_lab.Record("s", "2", 2)])
    assert contents(location) == [("a", "1")]
    assert staged_files(location) == set(fragment_paths(staged.fragments))
    with Committer(location, "r", slices_of=lambda _: [4], changed={"s": "3"}):
        assert read_journal(location).num_rows == 0, "staged for a version that is no more"


def test_rows_of_changed_and_of_other_files_in_one_fragment(table_lab, location):
    add(location, table_lab, [("a", "1", "s", 1, 0)], record=table_lab.Record("s", "1", 1), slices=[1])
    mixed = [("a", "2", "s", 2, 0), ("n", "1", "t", 3, 0), ("b", "2", "s", 2, 1)]
    slices = {"s": [2], "t": [3]}
    with Committer(location, "r", slices_of=lambda record: slices[record.uri], changed={"s": "2"}) as committer:
        committer.add(stage(location, rows_of(table_lab, *mixed)))
        committer.flush()
        assert contents(location) == [("a", "1"), ("n", "1")]
        committer.add(None, None, [table_lab.Record("s", "2", 1), table_lab.Record("t", "1", 1)])
    assert contents(location) == [("a", "2"), ("b", "2"), ("n", "1")]


def test_every_change_in_between_makes_the_exchange_lose(table_lab, location, monkeypatch):
    for number, name in enumerate("stu"):
        add(location, table_lab, [(name, "1", name, number, 0)], record=table_lab.Record(name, "1", 1), slices=[number])
    dataset = VectorTable.open(location).dataset
    changes = iter([
        lambda: dataset().delete("id = 't'"),
        lambda: dataset().optimize.compact_files() and None,
        lambda: VectorTable.open(location).add(["rival"], table_lab.vectors(1)),
    ])  # fmt: skip
    taken = []

    def reached(step):
        taken.append(step)
        change = next(changes, None) if step == "rejects written" else None
        if change:
            monkeypatch.setattr(steps, "reached", lambda step: None)
            change()
            monkeypatch.setattr(steps, "reached", reached)

    monkeypatch.setattr(steps, "reached", reached)
    add(location, table_lab, [("s", "2", "s", 7, 0)], record=table_lab.Record("s", "2", 1), slices=[7], changed=True)
    assert contents(location) == [("rival", None), ("s", "2"), ("u", "1")]
    assert taken.count("rejects written") == 4


def test_indexes_show_the_new_rows_and_no_dead_ones(table_lab, location):
    """Whole fragments go, the first and the last among them, and a part of one; their numbers must not be reused."""
    count, words = 60, {"s": "apple", "t": "banana", "u": "cherry"}
    vectors = {}

    def rows(source, slice_, word, version):
        table = rows_of(table_lab, *[(f"{source}{n}", f"{word} {n}", source, slice_, n) for n in range(count)])
        made = table_lab.vectors(count, seed=version * 100 + slice_)
        vectors[source] = made.astype(np.float32)
        at = table.column_names.index("vector")
        return table.set_column(
            at, "vector", pa.FixedSizeListArray.from_arrays(pa.array(made.ravel()), table_lab.H + table_lab.R)
        )

    def run(parts, versions):
        with Committer(location, "r", slices_of=lambda record: [n for s, n in parts if s == record.uri],
                       changed=versions) as committer:  # fmt: skip
            staged = pa.concat_tables([rows(s, n, words[s], 1 + n // 10) for s, n in parts])
            records = [table_lab.Record(source, str(1 + parts[0][1] // 10), 1) for source, _ in parts]
            committer.add(stage(location, staged), None, records)

    run([("s", 1)], None)
    run([("t", 2), ("u", 3)], None)
    table = VectorTable.open(location)
    assert {info.column for info in table.index(min_bytes=0)} == {"vector", "id", "source", "text"}
    words |= {"s": "apricot", "t": "blueberry"}
    run([("s", 11)], {"s": "2"})
    run([("t", 12)], {"t": "2"})
    words["u"] = "currant"
    run([("u", 23)], {"u": "3"})
    for refreshed in (False, True):
        if refreshed:
            table.index(min_bytes=0)
        for source, word in words.items():
            hits = table.search(vectors[source][7], k=3, columns=["id", "text"])
            assert hits.column("text")[0].as_py() == f"{word} 7"
            assert table.search(word, mode="text", k=200).num_rows == count
            assert table.dataset().to_table(filter=f"id = '{source}7'", columns=["text"])["text"].to_pylist() == [
                f"{word} 7"
            ]
        for gone in ("apple", "banana", "cherry"):
            assert table.search(gone, mode="text", k=200).num_rows == 0
    table.dataset().validate()


def test_pruned_files_may_come_back(table_lab, uri):
    table_lab.drive(uri)
    table = VectorTable.open(uri)
    before = table.count_rows()
    table.delete(["f0-s0-r0"])
    pruned = prune(table.location, ["file:///lab/0", "file:///lab/none"])
    left = table.dataset().to_table(columns=["source"])["source"].to_pylist()
    assert (pruned.files, pruned.rows) == (2, before - 1 - table.count_rows())
    assert set(left) == {"file:///lab/1", "file:///lab/2"}
    assert {row["uri"] for row in read_files(table.location).to_pylist()} == set(left)
    assert {row["source"] for row in table.rejects().to_pylist()} == set(left)
    table_lab.drive(uri, run="back")
    ids = set(table.dataset().to_table(columns=["id"])["id"].to_pylist())
    assert ids >= {f"f0-s0-r{row}" for row in (1, 3, 4)}
    assert "f0-s0-r0" not in ids


@pytest.mark.parametrize("step", ["reopened", "deleted", "marks removed", "rejects removed"])
def test_a_pruning_that_dies_is_finished_by_the_next(table_lab, uri, step, monkeypatch):
    """Not even the file that comes back unchanged in between is taken for complete."""
    table_lab.drive(uri)
    location = TableLocation.parse(uri)

    class DiedError(Exception):
        pass

    def reached(name):
        if name == step:
            raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(steps, "reached", reached)
        with pytest.raises(DiedError):
            prune(location, ["file:///lab/0"])
    assert ("file:///lab/0", "1", False) in {
        (row["uri"], row["version"], row["complete"]) for row in read_files(location).to_pylist()
    }
    prune(location, ["file:///lab/0"])
    table_lab.drive(uri, run="back")
    assert VectorTable.open(uri).count_rows() == len(table_lab.expected_ids())


def test_file_records_of_older_versions(table_lab, location):
    records = [table_lab.Record("s", "1"), table_lab.Record("s", "2"), table_lab.Record("t", "1")]
    begin_files(location, [(record.uri, record.version) for record in records], "r")
    record_files(location, records, "r")
    assert sorted(recorded(location)) == [("1", True), ("1", True), ("2", True)]


def test_only_the_run_that_last_began_a_file_says_that_it_is_complete(table_lab, location):
    """One that slept while others replaced the file, or began it again, says nothing."""
    begin_files(location, [("s", "1")], "slept")
    begin_files(location, [("s", "1")], "other")
    record_files(location, [table_lab.Record("s", "1"), table_lab.Record("t", "1")], "slept")
    assert recorded(location) == [("1", False)]
    record_files(location, [table_lab.Record("s", "1")], "other")
    assert recorded(location) == [("1", True)]


@pytest.mark.parametrize(("together", "always_there"), [(8192, True), (1, False)])
def test_rows_that_change_places_are_there_in_every_version(table_lab, location, monkeypatch, together, always_there):
    """Unless there is more than the journal should wait with: then the next plan takes them up again."""
    monkeypatch.setattr("pipeline.table.changes.replacement.MAX_WAITING_SLICES", together)
    numbers = {("s", "1"): [1], ("t", "1"): [2], ("s", "2"): [3], ("t", "2"): [4]}

    def run(version, ids, changed):
        files = {"s": ids[:2], "t": ids[2:]}
        begin_files(location, [(name, version) for name in files], f"r{version}")
        with Committer(
            location, f"r{version}", max_rows=1, changed=changed, slices_of=lambda file: numbers[file.uri, file.version]
        ) as committer:
            for name, own in files.items():
                rows = [(each, "text", name, numbers[name, version][0], row) for row, each in enumerate(own)]
                committer.add(stage(location, rows_of(table_lab, *rows)), None, [table_lab.Record(name, version, 1)])

    run("1", ["a", "b", "c", "d"], {})
    before = VectorTable.open(location).dataset().version
    run("2", ["c", "b", "a", "d"], {"s": "2", "t": "2"})
    dataset = VectorTable.open(location).dataset()
    versions = [lance.dataset(dataset.uri, version=number) for number in range(before, dataset.version + 1)]
    whole = [sorted(each.to_table(columns=["id"])["id"].to_pylist()) == ["a", "b", "c", "d"] for each in versions]
    assert all(whole) is always_there
    missing = missing_originals(location).column("id").to_pylist()
    assert missing == ([] if always_there else ["c"])


def test_a_file_whose_end_was_seen_first_is_waited_for(table_lab, location):
    """The unit with the end of t overtakes the one before it; a flush in between exchanges neither file."""
    numbers = {("s", "1"): [1], ("t", "1"): [2], ("s", "2"): [3], ("t", "2"): [4, 5]}
    with Committer(location, "r1", slices_of=lambda file: numbers[file.uri, file.version]) as committer:
        rows = rows_of(table_lab, ("a", "x", "s", 1, 0), ("b", "x", "s", 1, 1), ("c", "x", "t", 2, 0))
        committer.add(stage(location, rows), None, [table_lab.Record("s", "1", 1), table_lab.Record("t", "1", 1)])
    changed = {"s": "2", "t": "2"}
    begin_files(location, changed.items(), "r2")
    with Committer(
        location, "r2", changed=changed, slices_of=lambda file: numbers[file.uri, file.version]
    ) as committer:
        committer.add(stage(location, rows_of(table_lab, ("c", "x", "s", 3, 0))), None, [table_lab.Record("s", "2", 1)])
        committer.add(stage(location, rows_of(table_lab, ("a", "x", "t", 5, 8))), None, [table_lab.Record("t", "2", 2)])
        committer.flush()
        assert [name for name, _ in contents(location)] == ["a", "b", "c"]
        committer.add(stage(location, rows_of(table_lab, ("b", "x", "t", 4, 0))))
        committer.flush()
        assert committer.totals.replaced_files == ["s", "t"]
    assert [name for name, _ in contents(location)] == ["a", "b", "c"]
    assert not VectorTable.open(location).rejects().num_rows


def test_an_error_exchanges_no_part_of_what_has_changed(table_lab, location):
    numbers = {("s", "1"): [1], ("t", "1"): [2], ("s", "2"): [3]}
    with Committer(location, "r1", slices_of=lambda file: numbers[file.uri, file.version]) as committer:
        rows = rows_of(table_lab, ("a", "x", "s", 1, 0), ("b", "x", "t", 2, 0))
        committer.add(stage(location, rows), None, [table_lab.Record("s", "1", 1), table_lab.Record("t", "1", 1)])
    changed = {"s": "2", "t": "2"}
    committer = Committer(location, "r2", changed=changed, slices_of=lambda file: numbers[file.uri, file.version])
    committer.add(stage(location, rows_of(table_lab, ("c", "x", "s", 3, 0))), None, [table_lab.Record("s", "2", 1)])
    committer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [name for name, _ in contents(location)] == ["a", "b"]
    assert read_journal(location)["slice"].to_pylist() == [3]


def test_a_file_that_is_known_to_be_broken_keeps_its_older_rows_whatever_is_tried_again(table_lab, location):
    add(location, table_lab, [("a", "1", "s", 1, 0)], record=table_lab.Record("s", "1", 1), slices=[1])
    broken = [reject(2, -1, "unreadable")]
    assert add(
        location, table_lab, [], broken, record=table_lab.Record("s", "2", 1), slices=[2], changed=True
    ).totals.unreadable_files == ["s"]
    again = add(location, table_lab, [], record=table_lab.Record("s", "2", 1), slices=[2], changed=True)
    assert (again.totals.unreadable_files, again.totals.replaced_files, contents(location)) == (["s"], [], [("a", "1")])
