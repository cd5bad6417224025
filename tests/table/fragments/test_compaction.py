"""Compaction: fewer fragments, the same rows, the same ledger; commits around it stay exactly-once."""

from __future__ import annotations

from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage
from pipeline.table.fragments.compaction import compact


def fragments(uri):
    return len(VectorTable.open(uri).dataset().get_fragments())


def test_many_fragments_become_one_and_the_ledger_knows_as_much(lab, uri):
    lab.drive(uri, bundle=1, max_rows=1)
    location, before = TableLocation.parse(uri), Ledger.load(TableLocation.parse(uri))
    many = fragments(uri)
    assert many > 5
    assert compact(location, VectorTable.open(uri).dataset(), few=many) == 0
    assert compact(location, VectorTable.open(uri).dataset(), few=1) == many - 1
    assert fragments(uri) == 1
    assert set(Ledger.load(location).done) == set(before.done)
    lab.assert_exactly_once(uri)
    assert lab.drive(uri, run="idle").totals.commits == 0


def test_a_compaction_in_the_middle_of_a_run(lab, uri):
    location = TableLocation.parse(uri)
    lab.create(uri)
    with Committer(location, "run", max_rows=1, slices_of=lab.slices_of) as committer:
        for place in lab.all_slices():
            rows, rejects = lab.read([place])
            staged = stage(location, rows)
            compact(location, VectorTable.open(uri).dataset(), few=3)
            committer.add(staged, rejects)
    lab.assert_exactly_once(uri)
    assert fragments(uri) <= 5


def test_indexing_compacts_and_search_still_finds(lab, uri, monkeypatch):
    monkeypatch.setattr(compact, "__kwdefaults__", {"few": 2})
    lab.drive(uri, bundle=1, max_rows=1)
    table = VectorTable.open(uri)
    before = table.search("text", k=5, mode="text") if table.index() else None
    assert fragments(uri) == 1
    assert before is not None
    assert before.num_rows == 5
