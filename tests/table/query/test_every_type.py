"""A table with a column of every Arrow type that can be stored: staged from odd places in memory, searched, asked."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.table import VectorTable
from pipeline.table.commit.committer import Committer
from pipeline.table.fragments.staging import stage
from pipeline.table.query.literals import is_comparable
from pipeline.values import as_cell, as_json

DIM = 8


@pytest.fixture(scope="module")
def columns(load):
    every_type = load("every_type.py")
    return {name: column for name, column in every_type.columns().items()
            if column.type not in every_type.UNSTORABLE and "run_end" not in name}  # fmt: skip


@pytest.fixture(scope="module")
def table(load, table_lab, columns, tmp_path_factory):
    keep = pa.schema([(name, column.type) for name, column in columns.items()])
    made = VectorTable.create(str(tmp_path_factory.mktemp("lake") / "t"), spec=table_lab.spec(), dim=DIM, keep=keep)
    own = {
        "id": ["a", "b", "c"],
        "text": ["first", "second", "third"],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.eye(3, DIM, dtype=np.float16).ravel()), DIM),
        "source": ["s"] * 3,
        "slice": [1] * 3,
        "row": [0, 1, 2],
    }
    rows = load("every_type.py").misplaced(pa.table(own | columns), 13)
    with Committer(made.location, "run") as committer:
        committer.add(stage(made.location, rows))
    return made


def test_what_a_search_gives_is_what_was_stored(table, columns):
    hits = as_json(table.search(np.eye(1, DIM)[0], k=3))
    assert json.loads(json.dumps(hits, allow_nan=False)) == hits
    by_id = sorted(hits, key=lambda hit: hit["id"])
    for name, column in columns.items():
        assert [hit[name] for hit in by_id] == as_json(column), name


def test_each_value_finds_its_document_or_says_why_not(table, columns):
    hits = sorted(as_json(table.search(np.eye(1, DIM)[0], k=3)), key=lambda hit: hit["id"])
    found = refused = 0
    for name in columns:
        for hit in (hits[0], hits[2]):
            where = {name: as_cell(hit[name])}
            if is_comparable(table.schema.field(name).type) and hit[name] is not None:
                assert table.search(np.ones(DIM), where=where).column("id").to_pylist() == [hit["id"]], where
                found += 1
            elif name != "large_list<item: string>":  # any text may be a value in it
                with pytest.raises(UsageError, match=r"cannot be compared|no such value"):
                    table.search(np.ones(DIM), where=where)
                refused += 1
    assert found > 60
    assert refused > 20
