"""What keeps a deleted document away: its id, or its text where an id is only a place in a file."""

from __future__ import annotations

import pytest

from pipeline.table import Committer, TableLocation, VectorTable, stage
from pipeline.table.changes.pruning import prune
from pipeline.table.companions.files import begin_files

SECRET = "what nobody may find"


def commit(location, table_lab, file, version, slice_, texts, *, derived=True):
    """The file's only slice, a text a row; ids as they are derived, or one for each text."""
    rows = [
        {"id": f"{file}:{row}" if derived else f"of {text}", "text": text, "source": file, "slice": slice_, "row": row}
        for row, text in enumerate(texts)
    ]
    begin_files(location, [(file, version)], version)
    changed = {} if version == "1" else {file: version}
    slices_of = {"slices_of": lambda _: [slice_]}
    with Committer(location, version, unique_ids=derived, changed=changed, **slices_of) as committer:
        record = table_lab.Record(file, version, 1, len(texts))
        committer.add(stage(location, table_lab.as_rows(rows)), None, [record])


def texts(location):
    return sorted(VectorTable.open(location).dataset().to_table(columns=["text"]).column(0).to_pylist())


@pytest.fixture
def location(table_lab, uri):
    table_lab.create(uri)
    return TableLocation.parse(uri)


@pytest.mark.parametrize("derived", [True, False])
def test_rows_that_move_within_their_file_neither_come_back_nor_go(location, table_lab, derived):
    commit(location, table_lab, "f", "1", 1, ["one", SECRET, "three"], derived=derived)
    assert VectorTable.open(location).delete(["f:1" if derived else f"of {SECRET}"]) == 1
    commit(location, table_lab, "f", "2", 2, ["new", "one", SECRET, "three"], derived=derived)
    assert texts(location) == ["new", "one", "three"]
    commit(location, table_lab, "f", "3", 3, ["one", "three", "four", SECRET], derived=derived)
    assert texts(location) == ["four", "one", "three"]


def test_a_file_under_another_name_does_not_bring_it_back(location, table_lab):
    commit(location, table_lab, "f", "1", 1, ["one", SECRET])
    VectorTable.open(location).delete(["f:1"])
    for _ in range(2):
        prune(location, ["f"])
    commit(location, table_lab, "g", "1", 2, [SECRET, "two"])
    assert texts(location) == ["two"]
    prune(location, ["g"])
    commit(location, table_lab, "h", "1", 3, ["zero", SECRET])
    assert texts(location) == ["zero"]


def test_the_only_document_of_a_file_stays_away_with_any_text(location, table_lab):
    commit(location, table_lab, "f.txt", "1", 1, [SECRET])
    VectorTable.open(location).delete(["f.txt:0"])
    commit(location, table_lab, "f.txt", "2", 2, ["a draft of it"])
    assert texts(location) == []
