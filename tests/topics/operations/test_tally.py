from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.clustering.geometry import Assigned, Geometry
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.tally import Origin, Tally

IDS = np.array([2, 5, 9])
GEOMETRY = Geometry(IDS, np.eye(3, dtype=np.float32), np.full(3, 0.5, np.float32), np.full(3, 0.1, np.float32))
SCHEMA = pa.schema(
    [("version", "int64"), ("id", "string"), ("slice", "int64"), ("topic", "int64"), ("nearest", "int64"),
     ("score", "float32")]
)  # fmt: skip

rows = st.lists(
    st.fixed_dictionaries(
        {
            "version": st.integers(1, 4),
            "slice": st.integers(0, 1),
            "topic": st.sampled_from([-1, 2, 5, 9]),
            "nearest": st.sampled_from([2, 5, 9]),
            "score": st.floats(0, 1, width=32),
            "there": st.booleans(),
            "fitted": st.booleans(),
        }
    ),
    max_size=30,
)


def keys_of(found):
    ids = pa.array([row["id"] for row in found], pa.string())
    return Keys.of([document_keys(ids, pa.array([row["slice"] for row in found], pa.int64()))])


def origin(found, clustered=2):
    return Origin(None, keys_of([row for row in found if row["fitted"]]), clustered)


@given(rows, st.integers(1, 5))
def test_every_document_of_the_table_is_counted_once(found, cut):
    found = [{**row, "id": str(number)} for number, row in enumerate(found)]
    present = [row for row in found if row["there"]]
    table = pa.Table.from_pylist(found, SCHEMA)
    tally = Tally.of(table.to_batches(cut), GEOMETRY, origin(found), keys_of(present))
    assert tally.documents == len(present)
    assert tally.outliers == sum(row["topic"] == -1 for row in present)
    assert tally.fitted.documents == sum(row["fitted"] for row in present)
    assert tally.added.documents == len(present) - tally.fitted.documents
    floor = GEOMETRY.floor[0]
    since = [row for row in present if not row["fitted"] and np.float32(row["score"]) < floor]
    assert tally.added.rejected == len(since)
    assert tally.fresh_rejects == sum(row["version"] > 2 for row in since)
    assert tally.drift().added == tally.added.documents


def test_documents_that_would_be_assigned_count_as_added():
    nothing = Tally.of([], GEOMETRY, origin([]), Keys.of([]))
    score = np.array([0.9, 0.1], dtype=np.float32)
    more = nothing.plus(Assigned(np.array([5, -1]), np.array([5, 9]), score, score))
    assert (more.documents, more.outliers, more.fresh_rejects) == (2, 1, 1)
    assert more.added.accepted.tolist() == [0, 1, 0]
    assert more.added.mean[1] == pytest.approx(0.9)
