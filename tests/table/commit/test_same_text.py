"""Texts that a table has already: their vectors are found, their later copies are refused."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage, steps
from pipeline.table.companions.deleted import text_marks
from pipeline.table.companions.rejects import list_rejects
from pipeline.table.known.texts import KnownTexts


@pytest.fixture
def location(table_lab, uri):
    table_lab.create(uri)
    return TableLocation.parse(uri)


def rows_of(table_lab, *documents):
    names = ("id", "text", "source", "slice", "row")
    return table_lab.as_rows([dict(zip(names, document, strict=True)) for document in documents])


def commit(location, table_lab, *parts, **options):
    with Committer(location, "r", drop_copies=True, slices_of=lambda record: [record.slices], **options) as committer:
        for part in parts:
            committer.add(stage(location, rows_of(table_lab, *part)))
    return committer


def contents(location):
    rows = VectorTable.open(location).dataset().to_table(columns=["id", "text"]).to_pylist()
    return sorted((row["id"], row["text"]) for row in rows)


def test_later_copies_are_rejects_that_name_who_has_the_text(table_lab, location):
    commit(location, table_lab, [("a", "one", "s", 1, 0), ("b", "two", "s", 1, 1)])
    first = [("c", "one", "t", 2, 0), ("d", "three", "t", 2, 1), ("e", "three", "t", 2, 2)]
    committer = commit(location, table_lab, first, [("f", "three", "u", 3, 0), ("a", "four", "u", 3, 1)])
    assert contents(location) == [("a", "one"), ("b", "two"), ("d", "three")]
    assert (committer.totals.rows, committer.totals.rejects) == (1, 4)
    table = VectorTable.open(location)
    rejects = {row["id"]: (row["reason"], row["detail"]) for row in table.rejects().to_pylist()}
    assert rejects["c"] == ("duplicate of a", f"the same text as s:0, mark {text_marks(pa.array(['one']))[0]}")
    assert rejects["e"] == rejects["f"]
    assert rejects["e"][1].startswith("the same text as t:1, mark ")
    assert rejects["a"][0] == "duplicate id"
    assert table.info()["rejects"]["reasons"] == {"duplicate of another": 3, "duplicate id": 1}
    assert list_rejects(location, 9, "duplicate of another").column("id").to_pylist() == ["c", "e", "f"]
    assert list_rejects(location, 9, "duplicate of d").num_rows == 2
    assert Ledger.load(location).done.tolist() == [1, 2, 3]
    again = commit(location, table_lab, first)
    assert (again.totals.rows, again.totals.rejects) == (0, 0)


def test_a_slice_of_copies_only_waits_for_the_row_that_has_the_text(table_lab, location, monkeypatch):
    """Killed between rejects and swap: nobody has the text, so that its copies are read again."""

    class DiedError(BaseException):
        pass

    def reached(step):
        if step == "rejects written":
            raise DiedError

    with monkeypatch.context() as patch:
        patch.setattr(steps, "reached", reached)
        with pytest.raises(DiedError):
            commit(location, table_lab, [("a", "one", "s", 1, 0)], [("b", "one", "t", 2, 0)])
    assert Ledger.load(location).done.tolist() == []
    commit(location, table_lab, [("b", "one", "t", 2, 0)], [("a", "one", "s", 1, 0)])
    assert contents(location) == [("b", "one")]
    assert VectorTable.open(location).rejects().column("reason").to_pylist() == ["duplicate of b"]


def test_copies_of_deleted_and_of_exchanged_rows_are_first_again(table_lab, location):
    commit(location, table_lab, [("a", "one", "s", 1, 0), ("b", "two", "t", 2, 0)])
    VectorTable.open(location).delete(["a"])
    commit(location, table_lab, [("c", "one", "u", 3, 0)])
    with Committer(location, "r", drop_copies=True, slices_of=lambda _: [4], changed={"t": "2"}) as committer:
        committer.add(stage(location, rows_of(table_lab, ("b", "two", "t", 4, 0), ("d", "one", "t", 4, 1))), None,
                      [table_lab.Record("t", "2", 1)])  # fmt: skip
    assert contents(location) == [("b", "two"), ("c", "one")]


def test_vectors_are_found_by_text_whatever_happens_to_the_table(table_lab, location):
    known = KnownTexts(location)
    texts = pa.array(["one", "two", "four"])
    assert known.find(texts, ["id"]).num_rows == 0
    for number, text in enumerate(["one", "two", "three", "two"]):
        with Committer(location, "r") as committer:
            committer.add(stage(location, rows_of(table_lab, (f"d{number}", text, "s", number, 0))))
    known.refresh()
    found = known.find(texts, ["id", "vector"])
    assert sorted(found.column("id").to_pylist()) == ["d0", "d1", "d3"]
    table = VectorTable.open(location)
    table.dataset().optimize.compact_files()
    table.delete(["d0"])
    assert sorted(known.find(texts, ["id"]).column("id").to_pylist()) == ["d0", "d1", "d3"], "as of the last refresh"
    known.refresh()
    assert sorted(known.find(texts, ["id"]).column("id").to_pylist()) == ["d1", "d3"]
    assert len(known) == 3


def test_equal_hashes_of_other_texts_are_told_apart(table_lab, location, monkeypatch):
    monkeypatch.setattr("pipeline.table.known.texts.string_hashes", lambda values: np.zeros(len(values), np.uint64))
    with Committer(location, "r") as committer:
        committer.add(stage(location, rows_of(table_lab, ("a", "one", "s", 1, 0), ("b", "two", "s", 1, 1))))
    assert KnownTexts(location).find(pa.array(["two", "six"]), ["id"]).column("id").to_pylist() == ["b"]


def test_no_texts_no_comparison(table_lab, uri):
    table_lab.create(uri, with_text=False)
    with pytest.raises(UsageError, match="stores no texts"):
        KnownTexts(TableLocation.parse(uri))
