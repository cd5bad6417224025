from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.table import Committer, TableLocation, VectorTable, stage
from pipeline.table.fragments.compaction import compact
from pipeline.table.known import ids as module
from pipeline.table.known.ids import KnownIds
from pipeline.table.known.ledger import held_rows


@pytest.fixture
def small_runs(monkeypatch):
    """Runs are joined, and put into files, from a few ids on."""
    monkeypatch.setattr(module, "MAX_RUN_IDS", 40)
    monkeypatch.setattr(module, "MIN_MAPPED_IDS", 8)


def test_what_the_table_holds_is_suspect_and_nothing_else(table_lab, uri, small_runs):
    table_lab.drive(uri, bundle=1, max_rows=1)
    dataset, known = VectorTable.open(uri).dataset(), KnownIds()
    known.absorb(dataset, TableLocation.parse(uri))
    rows = dataset.to_table(columns=["id"], with_row_address=True)
    ids = pa.array([*rows["id"].to_pylist(), "elsewhere", ""])
    mask, fragments = known.may_hold(ids)
    assert mask.tolist() == [True] * rows.num_rows + [False, False]
    assert fragments.tolist() == sorted({address >> 32 for address in rows["_rowaddr"].to_pylist()})
    for identifier, address in zip(rows["id"].to_pylist(), rows["_rowaddr"].to_pylist(), strict=True):
        assert known.may_hold(pa.array([identifier]))[1].tolist() == [address >> 32]


def test_runs_stay_few_sorted_and_mapped(table_lab, uri, small_runs):
    table_lab.drive(uri, bundle=1, max_rows=1)
    dataset, known = VectorTable.open(uri).dataset(), KnownIds()
    for _ in range(2):
        known.absorb(dataset, TableLocation.parse(uri))  # the second time there is nothing new
    assert sum(len(hashes) for hashes, _ in known._runs) == dataset.count_rows()
    assert all((np.diff(hashes.astype(object)) >= 0).all() for hashes, _ in known._runs)
    assert len(known._runs) < 5
    assert any(isinstance(hashes, np.memmap) for hashes, _ in known._runs)


def test_nothing_is_suspect_in_an_empty_table():
    mask, fragments = KnownIds().may_hold(pa.array(["a"]))
    assert not mask.any()
    assert not len(fragments)
    assert KnownIds().may_hold(pa.array([], pa.string()))[0].tolist() == []


def test_only_the_fragments_that_may_hold_an_id_are_read(table_lab, uri, monkeypatch):
    """A commit whose ids are new reads none; one with a twin reads the twin's."""
    table_lab.create(uri)
    read = []

    def watched(*given, fragments=None, **more):
        read.append([each.fragment_id for each in fragments or []])
        return held_rows(*given, fragments=fragments, **more)

    monkeypatch.setattr("pipeline.table.commit.admission.held_rows", watched)
    with Committer(TableLocation.parse(uri), "run", max_rows=1, slices_of=table_lab.slices_of) as committer:
        for place in [(0, 0), (0, 2), (1, 0), (2, 3)]:  # (1, 0) repeats an id of (0, 0)
            rows, rejects = table_lab.read([place])
            committer.add(stage(TableLocation.parse(uri), rows), rejects)
    assert read == [[], [], [0], []]


def test_a_compaction_moves_ids_to_other_fragments(table_lab, uri):
    location = TableLocation.parse(uri)
    table_lab.create(uri)
    with Committer(location, "run", max_rows=1, slices_of=table_lab.slices_of) as committer:
        for number, place in enumerate(table_lab.all_slices()):
            rows, rejects = table_lab.read([place])
            committer.add(stage(location, rows), rejects)
            if number == 5:
                compact(location, VectorTable.open(uri).dataset(), few=1)
    table_lab.assert_exactly_once(uri)
