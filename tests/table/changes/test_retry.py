"""Rejected documents that are tried again: exactly once, slice by slice and row by row, whatever dies."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.rejects import KILLER, as_of_run
from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage
from pipeline.table.changes.retry import Retry, rejects_that_can_pass
from pipeline.table.companions.rejects import read_rejects, write_rejects

SLICE, WHOLE = (0, 0), (0, 2)


def reject(table_lab, place, row, reason):
    where = {"source": f"file:///lab/{place[0]}", "slice": table_lab.number_of(place), "row": row}
    more = {"id": f"{place}-{row}", "stage": "embed", "reason": reason, "detail": ""}
    return {**where, **more}


def rows_of(table_lab, place, rows):
    table, _ = table_lab.read([place])
    return table.filter(pa.array([row in rows for row in table["row"].to_pylist()]))


@pytest.fixture
def location(table_lab, uri):
    """Slice (0, 0) with rows 0 and 1, and rejects of the others; slice (0, 2) unreadable."""
    table_lab.create(uri)
    location = TableLocation.parse(uri)
    with Committer(location, "first") as committer:
        rejects = [reject(table_lab, SLICE, row, KILLER if row < 4 else "empty") for row in range(2, 8)]
        rejects.append(reject(table_lab, WHOLE, -1, "unreadable"))
        committer.add(stage(location, rows_of(table_lab, SLICE, {0, 1})), table_lab.as_rejects(rejects))
    return location


def held(location):
    rows = VectorTable.open(location).dataset().to_table(columns=["slice", "row"]).to_pylist()
    return sorted((row["slice"], row["row"]) for row in rows)


def refused(location):
    return sorted((row["slice"], row["row"]) for row in read_rejects(location).to_pylist())


def retry(location):
    return Retry.of(rejects_that_can_pass(location), Ledger.load(location))


def test_what_can_pass_is_chosen(table_lab, location):
    chosen = retry(location)
    assert sorted(chosen.rows["row"].to_pylist()) == [2, 3]
    assert chosen.whole.tolist() == [table_lab.number_of(WHOLE)]
    assert chosen.sources == {"file:///lab/0"}
    read = rows_of(table_lab, SLICE, set(range(8)))
    assert sorted(chosen.only(read)["row"].to_pylist()) == [row for row in (2, 3) if row in read["row"].to_pylist()]
    everything = rows_of(table_lab, WHOLE, set(range(8)))
    assert chosen.only(everything).num_rows == everything.num_rows
    other = rows_of(table_lab, (1, 0), set(range(8)))
    assert chosen.only(other).num_rows == other.num_rows


def test_accepted_ones_leave_the_rejects_and_others_stay(table_lab, location):
    again = [reject(table_lab, SLICE, 3, "ValueError while embedding")]
    with Committer(location, "second", retry=retry(location)) as committer:
        committer.add(stage(location, rows_of(table_lab, SLICE, {2})), table_lab.as_rejects(again))
    number = table_lab.number_of(SLICE)
    assert held(location) == [(number, 0), (number, 1), (number, 2)]
    assert [row for slice_, row in refused(location) if slice_ == number] == [3, 4, 5, 6, 7]
    rejects = {row["row"]: row for row in read_rejects(location).to_pylist()}
    assert (rejects[3]["reason"], rejects[3]["run"]) == ("ValueError while embedding", "second")


def test_the_same_retry_twice_adds_nothing(table_lab, location):
    for run in ("second", "third"):
        chosen = retry(location)
        with Committer(location, run, retry=chosen) as committer:
            committer.add(stage(location, rows_of(table_lab, SLICE, {2, 3})))
            committer.flush()
            committer.add(stage(location, rows_of(table_lab, SLICE, {2, 3})))  # a task that delivers its work again
    assert (
        len(held(location)) == len(set(held(location))) == 3 + (3 in rows_of(table_lab, SLICE, {3})["row"].to_pylist())
    )


def test_rows_nobody_asked_for_are_refused(table_lab, location):
    with Committer(location, "second", retry=retry(location)) as committer:
        committer.add(stage(location, rows_of(table_lab, SLICE, {0, 1, 6})))
    assert [row for _, row in held(location)] == [0, 1]


def test_a_whole_slice_comes_in_and_its_reject_goes(table_lab, location):
    rows, rejects = table_lab.read([WHOLE])
    with Committer(location, "second", retry=retry(location)) as committer:
        committer.add(stage(location, rows), rejects)
    number = table_lab.number_of(WHOLE)
    places = [*held(location), *refused(location)]
    assert sorted(row for slice_, row in places if slice_ == number) == list(range(8))
    assert Ledger.load(location).are_done([number])


def test_a_crash_between_rejects_and_rows_loses_nothing(table_lab, location):
    """The slice's own reject stays until all of it is accounted for."""
    _, rejects = table_lab.read([WHOLE])
    write_rejects(location, lab_run(rejects))
    with Committer(location, "tidy"):
        pass
    assert (table_lab.number_of(WHOLE), -1) in refused(location)
    assert retry(location).whole.tolist() == [table_lab.number_of(WHOLE)]
    test_a_whole_slice_comes_in_and_its_reject_goes(table_lab, location)


def lab_run(rejects):
    return as_of_run(rejects, "died")
