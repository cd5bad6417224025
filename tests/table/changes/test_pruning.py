"""What must not outlive a table, and what must."""

from __future__ import annotations

import shutil

from pipeline.rejects import KILLER, as_of_run
from pipeline.table import TableLocation, VectorTable
from pipeline.table.changes.pruning import forget_table
from pipeline.table.companions.deleted import read_deleted
from pipeline.table.companions.files import begin_files, read_files
from pipeline.table.companions.rejects import marked_slices, read_rejects, write_rejects


def test_a_table_made_anew_inherits_only_what_was_deleted_and_what_kills(table_lab, uri):
    table_lab.drive(uri)
    location = TableLocation.parse(uri)
    begin_files(location, [("file:///lab/9", "1")], "r")
    one = VectorTable.open(uri).dataset().to_table(columns=["id"], limit=1).column(0)[0].as_py()
    assert VectorTable.open(uri).delete([one]) == 1
    killer = {"id": None, "source": "file:///lab/9", "slice": 99, "row": -1, "stage": "read", "reason": KILLER}
    write_rejects(location, as_of_run(table_lab.as_rejects([killer | {"detail": ""}]), "r"))
    assert read_rejects(location).num_rows > 2
    shutil.rmtree(f"{uri}.lance")
    for _ in range(2):
        forget_table(location)
        left = {(row["id"], row["reason"]) for row in read_rejects(location).to_pylist()}
        assert left == {(None, KILLER)}
        assert read_deleted(location).column("id").to_pylist() == [one]
        assert not len(marked_slices(location))
        assert not read_files(location).num_rows
