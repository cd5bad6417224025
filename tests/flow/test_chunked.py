"""Long documents as chunks, through the whole job: each document once and whole, found, deleted, never mixed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import VectorTable, embed
from pipeline.errors import SpecError, TableError, UsageError
from pipeline.table.schema import CHUNKS

pytestmark = pytest.mark.cluster

CHUNK = "12:3"


@dataclass(frozen=True)
class Lake:
    corpus: Path
    table: str
    texts: dict[str, str]
    reports: list[Any]


def long_documents(lab, count, prefix):
    """Documents of 1 to 6 sentences."""
    return [
        row | {"text": " ".join(lab.sentence(row["theme"], number + place) for place in range(1 + number % 6))}
        for number, row in enumerate(lab.documents(count, prefix))
    ]


@pytest.fixture(scope="module")
def lake(ray_cluster, lab, tmp_path_factory):
    """Two files of 40 documents, of which one has the id of another file's, embedded in two runs."""
    folder = tmp_path_factory.mktemp("chunked")
    first, second = long_documents(lab, 40, "a"), long_documents(lab, 40, "b")
    twin = {"id": "a-3", "text": " ".join(["quite another text of the same id"] * 9), "theme": "none"}
    lab.write(folder / "corpus" / "a.parquet", first)
    lab.write(folder / "corpus" / "b.jsonl", [*second, twin, {"id": "b-empty", "text": " ", "theme": "none"}])
    table, options = str(folder / "lake" / "docs"), {"keep": ("theme",), "commit_rows": 16}
    begun = embed(str(folder / "corpus"), table, lab.SPEC, chunk=CHUNK, limit=20, **options)
    rest = embed(str(folder / "corpus"), table, **options)
    texts = {row["id"]: row["text"] for row in [*first, *second]}
    return Lake(folder / "corpus", table, texts, [begun, rest])


def by_document(lab, table):
    documents = {}
    for row in sorted(lab.stored(table).values(), key=lambda row: row["chunk"]):
        documents.setdefault(row["doc_id"], []).append(row)
    return documents


def test_each_document_is_there_once_and_whole(lake, lab):
    documents = by_document(lab, lake.table)
    assert set(documents) == set(lake.texts)
    for name, rows in documents.items():
        assert [row["chunk"] for row in rows] == list(range(len(rows)))
        assert {(row["id"], row["theme"]) for row in rows} == {
            (f"{name}#{k}", rows[0]["theme"]) for k in range(len(rows))
        }
        assert all(row["text"] == lake.texts[name][row["chunk_start"] : row["chunk_end"]] for row in rows)
        assert set(" ".join(row["text"] for row in rows).split()) == set(lake.texts[name].split())
        assert not any(row["truncated"] for row in rows)
    assert max(map(len, documents.values())) > 4


def test_documents_are_counted_and_rejected_whole(lake):
    begun, rest = lake.reports
    table = VectorTable.open(lake.table)
    assert (begun.documents + rest.documents, rest.table_documents) == (80, 80)
    assert rest.table_rows == table.count_rows() > 160
    assert f"80 documents in {rest.table_rows:,} chunks" in rest.summary()
    rejects = table.rejects().to_pylist()
    assert sorted((row["id"], row["reason"]) for row in rejects) == [("a-3", "duplicate id"), ("b-empty", "empty")]
    info = table.info()
    assert (info["reader"]["chunk"], info["documents"], info["rows"]) == (CHUNK, 80, rest.table_rows)
    assert set(CHUNKS.names) <= set(table.schema.names)


def test_a_rows_vector_is_that_of_its_text(lake, lab):
    rows = list(lab.stored(lake.table).values())[::7]
    cosine = np.sum(
        lab.vectors(rows) * VectorTable.open(lake.table).encoder.encode([row["text"] for row in rows]), axis=1
    )
    assert np.median(cosine) >= 0.999
    assert cosine.min() >= 0.99


def test_the_chunking_is_the_tables(lake):
    assert embed(str(lake.corpus), lake.table).nothing_to_do
    assert embed(str(lake.corpus), lake.table, chunk=(12, 3)).nothing_to_do
    with pytest.raises(UsageError, match=r"--chunk 12:0: .* was made with chunks of 12:3, which is fixed"):
        embed(str(lake.corpus), lake.table, chunk=12)


def test_a_table_without_chunks_keeps_documents_whole(mixed):
    with pytest.raises(UsageError, match=r"--chunk 12:3: .* was made without chunks, which is fixed"):
        embed(str(mixed.corpus), mixed.table, chunk=CHUNK)


def test_a_search_finds_chunks_or_documents(lake):
    table = VectorTable.open(lake.table)
    chunks = table.search("rocket orbit moon", k=60)
    assert len(set(chunks["doc_id"].to_pylist())) < 60
    documents = table.search("rocket orbit moon", k=60, group_by="doc_id", columns=["chunk"])
    assert documents.column_names == ["chunk", "_score", "_cos_h", "_cos_r"]
    best = table.search("rocket orbit moon", k=60, group_by="doc_id")
    assert len(set(best["doc_id"].to_pylist())) == best.num_rows == 60
    assert best["id"][0] == chunks["id"][0]
    assert np.all(np.diff(best["_score"].to_numpy()) <= 0)
    assert table.search("rocket", k=500, group_by="doc_id").num_rows == 80


def test_neighbours_of_a_chunk_and_of_a_document(lake):
    table = VectorTable.open(lake.table)
    of_chunk = table.search(like="a-5#1", k=300)["id"].to_pylist()
    assert "a-5#1" not in of_chunk
    assert "a-5#0" in of_chunk
    assert "a-5" not in table.search(like="a-5", k=300)["doc_id"].to_pylist()
    with pytest.raises(TableError, match="no document 'a-5#99'"):
        table.search(like="a-5#99")


def test_a_document_is_deleted_with_all_its_chunks_for_good(lake, lab, tmp_path):
    shutil.copytree(Path(lake.table).parent, tmp_path / "lake")
    table = VectorTable.open(tmp_path / "lake" / "docs")
    assert table.delete(["a-5", "b-11", "nothing"]) == 2
    assert set(lake.texts) - set(by_document(lab, table.location)) == {"a-5", "b-11"}
    assert embed(str(lake.corpus), str(tmp_path / "lake" / "docs")).nothing_to_do


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"chunk": "512"}, "room for windows of"),
        ({"chunk": "a lot"}, "say WINDOW or WINDOW:OVERLAP"),
        ({"chunk": "12", "keep": ("chunk",)}, "column 'chunk' cannot be kept"),
    ],
)
def test_a_chunking_that_cannot_be_is_refused_before_there_is_a_table(lake, lab, tmp_path, options, what):
    with pytest.raises((UsageError, SpecError), match=what) as caught:
        embed(str(lake.corpus), str(tmp_path / "lake" / "docs"), lab.SPEC, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "lake" / "docs.lance").exists()
