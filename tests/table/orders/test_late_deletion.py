"""A deletion takes no lease, so a run may exchange or prune a file after the deletion has looked at it."""

from __future__ import annotations

import pytest

from pipeline.table import Committer, Ledger, TableLocation, VectorTable, stage
from pipeline.table.changes.deletion import delete_documents
from pipeline.table.changes.pruning import prune
from pipeline.table.companions.files import begin_files, read_files
from pipeline.table.store import open_dataset

URI = "file:///lab/s"
CONTENT = {"A": {1: [("a", "one"), ("e", " ")]}, "B": {11: [("b", "two")]}}


class Record:
    uri, rows = URI, 1

    def __init__(self, version):
        self.version, self.slices = version, len(CONTENT[version])


def run(table_lab, location, version):
    """One run over the file as it is now."""
    known = {row["version"] for row in read_files(location).to_pylist()}
    begin_files(location, [(URI, version)], version)
    changed = {URI: version} if known - {version} else {}
    with Committer(
        location, f"run {version}", slices_of=lambda record: list(CONTENT[record.version]), changed=changed
    ) as committer:
        for number in CONTENT[version].keys() - set(Ledger.load(location).done.tolist()):
            rows, rejects = [], []
            for row, (name, text) in enumerate(CONTENT[version][number]):
                place = {"id": name, "source": URI, "slice": number, "row": row}
                if text.strip():
                    rows.append({**place, "text": text})
                else:
                    rejects.append({**place, "stage": "check", "reason": "empty", "detail": ""})
            committer.add(stage(location, table_lab.as_rows(rows)), table_lab.as_rejects(rejects))
        committer.add(None, None, [Record(version)])


@pytest.mark.parametrize("change", ["exchanged", "pruned"])
def test_a_file_that_leaves_before_a_deletion_marks_its_slices_is_read_when_it_returns(table_lab, tmp_path, change):
    location = TableLocation.parse(tmp_path / "lake" / "docs")
    table_lab.create(str(location))
    run(table_lab, location, "A")
    seen = open_dataset(location)
    if change == "exchanged":
        run(table_lab, location, "B")
    else:
        prune(location, [URI])
    delete_documents(location, seen, ["a"])
    run(table_lab, location, "A")
    refused = VectorTable.open(location).rejects().column("id").to_pylist()
    assert sorted(refused) == ["a", "e"]
