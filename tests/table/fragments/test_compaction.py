"""Compaction: fewer fragments, the same rows, the same ledger; commits around it stay exactly-once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import lance
from lance.fragment import FragmentMetadata

from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage
from pipeline.table.fragments.compaction import compact, join_some


def fragments(uri):
    return len(VectorTable.open(uri).dataset().get_fragments())


def test_many_fragments_become_one_and_the_ledger_knows_as_much(table_lab, uri):
    table_lab.drive(uri, bundle=1, max_rows=1)
    location, before = TableLocation.parse(uri), Ledger.load(TableLocation.parse(uri))
    many = fragments(uri)
    assert many > 5
    assert compact(location, VectorTable.open(uri).dataset(), few=many) == 0
    assert compact(location, VectorTable.open(uri).dataset(), few=1) == many - 1
    assert fragments(uri) == 1
    assert set(Ledger.load(location).done) == set(before.done)
    table_lab.assert_exactly_once(uri)
    assert table_lab.drive(uri, run="idle").totals.commits == 0


def test_a_compaction_in_the_middle_of_a_run(table_lab, uri):
    location = TableLocation.parse(uri)
    table_lab.create(uri)
    with Committer(location, "run", max_rows=1, slices_of=table_lab.slices_of) as committer:
        for place in table_lab.all_slices():
            rows, rejects = table_lab.read([place])
            staged = stage(location, rows)
            compact(location, VectorTable.open(uri).dataset(), few=3)
            committer.add(staged, rejects)
    table_lab.assert_exactly_once(uri)
    assert fragments(uri) <= 5


def test_indexing_compacts_and_search_still_finds(table_lab, uri, monkeypatch):
    monkeypatch.setattr(compact, "__kwdefaults__", {"few": 2})
    table_lab.drive(uri, bundle=1, max_rows=1)
    table = VectorTable.open(uri)
    before = table.search("text", k=5, mode="text") if table.index() else None
    assert fragments(uri) == 1
    assert before is not None
    assert before.num_rows == 5


def test_more_tiny_fragments_than_a_pass_takes_become_few(table_lab, uri):
    """A bound on a pass must not leave them all as they are: a commit names every fragment."""
    table_lab.create(uri)
    location = TableLocation.parse(uri)
    staged = stage(location, table_lab.read([(0, 0)])[0])
    document = json.loads(staged.fragments[0])
    data, name, copies = Path(f"{location.uri}/data"), document["files"][0]["path"], []
    for number in range(1500):
        document["files"][0]["path"] = f"copy{number}-{name}"
        shutil.copyfile(data / name, data / document["files"][0]["path"])
        copies.append(FragmentMetadata.from_json(json.dumps(document)))
    dataset = VectorTable.open(uri).dataset()
    dataset = lance.LanceDataset.commit(dataset.uri, lance.LanceOperation.Append(copies), dataset.version)
    rows = dataset.count_rows()
    join_some(location, dataset)
    assert len(dataset.get_fragments()) < 10
    assert dataset.count_rows() == rows
