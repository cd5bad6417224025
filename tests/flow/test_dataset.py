"""The embedding as a step of a Ray dataset."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline import EmbeddingSpec, VectorTable, embed_dataset
from pipeline.columns import to_ipc
from pipeline.flow.dataset import VectorStage
from pipeline.flow.encoder import EncoderPlan

pytestmark = pytest.mark.cluster

COLUMNS = ["vector", "hs_norm", "rw_norm", "n_tokens", "truncated", "reject"]


def test_a_dataset_gets_the_vectors_of_the_table(mixed, lab):
    import ray

    table = VectorTable.open(mixed.table)
    stored = lab.stored(mixed.table)
    names = sorted(stored)
    texts = [*(stored[name]["text"] for name in names), None, "\n "]
    given = pa.table({"name": [*names, "null", "blank"], "words": texts})
    dataset = embed_dataset(
        ray.data.from_arrow(given), EmbeddingSpec(**lab.SPEC), text="words", calibration=table.calibration
    )
    rows = {row["name"]: row for row in dataset.take_all()}
    assert len(rows) == len(names) + 2
    assert set(rows["null"]) == {"name", "words", *COLUMNS}
    assert (rows["null"]["reject"], rows["blank"]["reject"]) == ("null text", "empty")
    assert rows["null"]["vector"] is None
    assert {rows[name]["reject"] for name in names} == {None}
    assert [rows[name]["n_tokens"] for name in names] == [stored[name]["n_tokens"] for name in names]
    ours, theirs = (lab.vectors(source[name] for name in names) for source in (rows, stored))
    assert np.sum(ours * theirs, axis=1).min() > 0.999


def test_the_stage_is_a_plain_callable(mixed, lab):
    table = VectorTable.open(mixed.table)
    encoder = EncoderPlan(table.spec, table.meaning, "cpu", None, to_ipc(table.calibration.to_arrow()))
    stage = VectorStage(encoder, "text")
    text = lab.stored(mixed.table)["g-0"]["text"]
    made = stage(pa.table({"text": ["", text, None], "kept": [1, 2, 3]}))
    assert made.column_names == ["text", "kept", *COLUMNS]
    assert made["reject"].to_pylist() == ["empty", None, "null text"]
    assert made["vector"].is_valid().to_pylist() == [False, True, False]
    nothing = stage(pa.table({"text": pa.array([None], pa.string()), "kept": [1]}))
    assert nothing["reject"].to_pylist() == ["null text"]
    assert nothing.schema.field("vector").type == made.schema.field("vector").type
