from __future__ import annotations

import json

import lance
import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics import fit_topics
from pipeline.topics.operations import fit
from pipeline.topics.versions.by_document import count_documents, document_topics

chunks = st.lists(st.tuples(st.sampled_from(["a", "b#7", "c"]), st.integers(-1, 2)), min_size=1, max_size=25)


def table(rows, scores=None):
    ids = [f"{name}#{number}" for number, (name, _) in enumerate(rows)]
    scores = scores or [0.5] * len(rows)
    return pa.table({"id": ids, "topic": [topic for _, topic in rows], "score": pa.array(scores, pa.float32())})


@given(chunks)
def test_most_chunks_decide_and_outliers_do_not(rows):
    found = document_topics(table(rows), chunked=True).to_pylist()
    assert [row["document"] for row in found] == sorted({name for name, _ in rows})
    for row in found:
        own = [topic for name, topic in rows if name == row["document"]]
        inside = [topic for topic in own if topic >= 0]
        best = max((inside.count(topic) for topic in inside), default=0)
        expected = min((topic for topic in inside if inside.count(topic) == best), default=-1)
        assert (row["topic"], row["chunks"]) == (expected, len(own))
        assert row["share"] == own.count(expected) / len(own)


def test_of_equals_the_nearer_wins():
    rows = table([("a", 0), ("a", 1), ("a", -1)], [0.3, 0.4, 0.9])
    assert document_topics(rows, chunked=True).to_pylist() == [
        {"document": "a", "topic": 1, "share": 1 / 3, "chunks": 3}
    ]
    whole = document_topics(rows, chunked=False)
    assert whole["document"].to_pylist() == ["a#0", "a#1", "a#2"]
    extent = count_documents(document_topics(table([("a", 0), ("c", -1), ("c", -1)]), chunked=True))
    assert (extent.documents, extent.outliers, extent.chunks, extent.sizes) == (2, 1, 3, {0: 1})


def test_a_chunked_table_is_spoken_of_in_documents(helpers, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "cluster", lambda vectors, *_, **__: vectors[:, :2].argmax(axis=1))
    owners = np.repeat([0, 0, 1, 0, 1], 12)  # the document at 12·i has chunks along these axes
    vectors = np.eye(helpers.DIMENSION)[owners]
    ids = [f"doc{row % 12}#{row // 12}" for row in range(60)]
    rows = helpers.table_of(ids, [["planet", "engine"][axis] for axis in owners], vectors)
    rows = rows.append_column("doc_id", pa.array([name.split("#")[0] for name in ids]))
    metadata = {"moee.reader": json.dumps({"chunk": "16:0"}), "moee.fingerprint": "f1"}
    lance.write_dataset(rows.replace_schema_metadata(metadata), str(tmp_path / "docs.lance"))
    topics = fit_topics(str(tmp_path / "docs"))
    assert topics.model.documents == 60
    assert (topics.document_counts().documents, topics.document_counts().chunks) == (12, 60)
    assert [(view.topic, view.size, view.share) for view in topics.overview()] == [(0, 12, 1.0), (1, 0, 0.0)]
    assert topics.document_topics()["share"].to_pylist() == [0.6] * 12
