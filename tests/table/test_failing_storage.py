"""A storage that fails is told in one line, as a `TableError`, wherever it is asked."""

from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import TableError
from pipeline.table import TableLocation, VectorTable
from pipeline.table.changes import replacement
from pipeline.table.changes.retry import missing_originals
from pipeline.table.companions import journal
from pipeline.table.companions.rejects import forget_marks, in_table, marked_slices, reject_counts, remove_rejects
from pipeline.table.info import count_documents
from pipeline.table.known import ledger
from pipeline.table.schema import JOURNAL
from pipeline.table.store import open_dataset

IDS = pa.array(["f0-s0-r0"])
PLACES = pa.table({"slice": pa.array([1], pa.int64()), "row": pa.array([0], pa.int64())})
SLICES = np.array([1], np.int64)
ENTRY = {"uri": "u", "version": "1", "slice": 1, "fragments": [], "run": "r"}


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda location, dataset: ledger.held_rows(dataset, IDS, ["source", "row"]), id="held ids"),
        pytest.param(lambda location, dataset: in_table(dataset, PLACES), id="held places"),
        pytest.param(lambda location, dataset: marked_slices(location), id="marks"),
        pytest.param(lambda location, dataset: forget_marks(location, pc.field("slice") == 1), id="old marks"),
        pytest.param(lambda location, dataset: missing_originals(location), id="missing originals"),
        pytest.param(lambda location, dataset: replacement._holds_older(dataset, "u", SLICES), id="older rows"),
        pytest.param(lambda location, dataset: journal.forget(location, pc.field("slice") == 1), id="journal"),
        pytest.param(lambda location, dataset: reject_counts(location), id="reasons"),
        pytest.param(lambda location, dataset: remove_rejects(location, pc.field("slice") == 1), id="old rejects"),
        pytest.param(lambda location, dataset: count_documents(dataset), id="documents"),
        pytest.param(lambda location, dataset: VectorTable.open(location).count_rows(), id="rows"),
        pytest.param(lambda location, dataset: VectorTable.open(location).versions, id="versions"),
        pytest.param(lambda location, dataset: VectorTable.open(location).search(like="x"), id="like"),
    ],
)
def test_it_is_a_table_error(table_lab, uri, monkeypatch, ask):
    table_lab.drive(uri)
    location = TableLocation.parse(uri)
    journal.write_journal(location, pa.Table.from_pylist([ENTRY], schema=JOURNAL))
    dataset = open_dataset(location)

    def fail(*_, **__):
        raise OSError("LanceError(IO): connection reset, /x/rust/src/a.rs:12:3\nmore")

    for name in ("scanner", "to_table", "count_rows", "versions"):
        monkeypatch.setattr(lance.LanceDataset, name, fail)
    with pytest.raises(TableError, match=r"^cannot [a-z ]+ /.*/lake/lab(\.\w+)?: connection reset$"):
        ask(location, dataset)
