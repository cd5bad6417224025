"""Indexes of small tables: what is built, brought up to date, trained again, left alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from lance.dataset import DatasetOptimizer

from pipeline.errors import TableError
from pipeline.table import VectorTable
from pipeline.table.indexes import choice, upkeep
from pipeline.table.indexes.build import has_few_values
from pipeline.table.indexes.listing import IndexInfo, has_index, list_indexes, text_index
from pipeline.table.indexes.upkeep import has_outgrown, refresh_indexes

DIM = 16
KEEP = pa.schema([("lang", pa.string()), ("n", pa.int64()), ("tags", pa.list_(pa.string())), ("raw", pa.binary())])


def grow(table, start, stop):
    numbers = range(start, stop)
    metadata = pa.table(
        {
            "lang": [("de", "en")[n % 2] for n in numbers],
            "n": pa.array(numbers),
            "tags": [["even"] if n % 2 == 0 else [] for n in numbers],
            "raw": [b"x" for _ in numbers],
        },
        schema=KEEP,
    )
    vectors = np.random.default_rng(start).standard_normal((len(numbers), DIM)).astype(np.float32)
    table.add([f"d{n}" for n in numbers], vectors, texts=[f"new york {n}" for n in numbers], metadata=metadata)


@pytest.fixture
def table(table_lab, uri):
    made = VectorTable.create(uri, spec=table_lab.spec(), dim=DIM, keep=KEEP)
    grow(made, 0, 1500)
    return made


def by_column(table):
    return {info.column: info for info in list_indexes(table.dataset())}


def test_each_column_gets_its_index(table):
    assert {info.column: info.kind for info in table.index(min_bytes=0)} == {
        "id": "BTree", "source": "BTree", "text": "Inverted", "vector": "IVF_RQ",
        "lang": "Bitmap", "n": "BTree", "tags": "LabelList",
    }  # fmt: skip
    infos = by_column(table)
    assert infos["vector"].described == "IVF_RQ, 1 partition, 5 bits"
    assert text_index(table.dataset()).details["with_position"]
    version = table.dataset().version
    table.index(min_bytes=0)
    assert table.dataset().version == version


def test_rows_that_come_later_are_covered_and_a_second_call_makes_no_version(table):
    table.index(min_bytes=0)
    grow(table, 1500, 1600)
    assert {info.missing for info in by_column(table).values()} == {100}
    assert refresh_indexes(table.location, table.dataset())
    version = table.dataset().version
    assert {(info.rows, info.missing) for info in by_column(table).values()} == {(1600, 0)}
    assert not refresh_indexes(table.location, table.dataset())
    assert table.dataset().version == version
    assert table.search(np.eye(1, DIM)[0], k=3, where={"n": 1555}).column("id").to_pylist() == ["d1555"]
    assert table.search('"york 1555"', mode="text").column("id").to_pylist() == ["d1555"]


def test_segments_are_joined_where_there_are_more_than_a_few(table):
    table.index(min_bytes=0)
    counts = []
    for step in range(6):
        grow(table, 1500 + 20 * step, 1520 + 20 * step)
        refresh_indexes(table.location, table.dataset())
        counts.append({info.segments for info in by_column(table).values()})
    assert counts == [{2}, {3}, {4}, {1}, {2}, {3}]
    assert {info.missing for info in by_column(table).values()} == {0}


def test_vectors_are_indexed_anew_when_their_partitions_have_outgrown_their_target(table, monkeypatch):
    small = {"IVF_RQ": 500, "IVF_SQ": 500}
    monkeypatch.setattr(choice, "PARTITION_ROWS", small)
    monkeypatch.setattr(upkeep, "PARTITION_ROWS", small)
    table.index(min_bytes=0)
    first = by_column(table)["vector"]
    grow(table, 1500, 2 * 1500)
    refresh_indexes(table.location, table.dataset())
    assert by_column(table)["vector"].partitions == first.partitions
    grow(table, 2 * 1500, 20 * 1500)
    refresh_indexes(table.location, table.dataset())
    again = by_column(table)["vector"]
    assert again.partitions >= 10 * first.partitions
    assert (again.kind, again.bits, again.segments, again.missing) == ("IVF_RQ", 5, 1, 0)
    assert again.name == first.name


def test_a_table_without_indexes_gets_none_and_an_indexed_one_vectors_when_they_are_many(table):
    assert not refresh_indexes(table.location, table.dataset(), min_bytes=0)
    assert not by_column(table)
    table.index()
    assert "vector" not in by_column(table)
    assert refresh_indexes(table.location, table.dataset(), min_bytes=2 * DIM * 1500)
    assert by_column(table)["vector"].missing == 0


def test_deleted_rows_do_not_hide_rows_that_are_missing(table):
    table.index()
    table.delete([f"d{n}" for n in range(300)])
    grow(table, 1500, 1510)
    assert {info.missing for info in by_column(table).values()} == {10}


def test_indexes_of_others_are_left_alone_and_not_used(table):
    dataset = table.dataset()
    dataset.create_scalar_index("text", "NGRAM", name="text_idx")
    dataset.create_index("vector", "IVF_FLAT", metric="l2", num_partitions=2, name="vector_idx")
    dataset = table.dataset()
    assert not has_index(dataset, "text")
    assert not has_index(dataset, "vector")
    infos = {info.name: info for info in table.index(min_bytes=0)}
    assert (infos["text_idx"].kind, infos["text_idx"].is_used) == ("NGram", False)
    assert infos["moee_text_idx"].is_used
    assert infos["moee_vector_idx"].kind == "IVF_RQ"
    assert table.search("york", mode="text").num_rows


def test_a_column_that_has_got_many_values_gets_another_index(table, monkeypatch):
    table.index()
    assert has_few_values(table.dataset(), "lang")
    assert not has_few_values(table.dataset(), "n")
    monkeypatch.setattr("pipeline.table.indexes.build.MAX_BITMAP_VALUES", 1)
    assert {info.column: info.kind for info in table.index()}["lang"] == "BTree"


def test_a_text_index_without_positions_is_told_and_made_anew(table):
    dataset = table.dataset()
    dataset.create_scalar_index("text", "INVERTED", base_tokenizer="icu/split", with_position=False)
    assert not by_column(table)["text"].is_current
    refresh_indexes(table.location, table.dataset())
    assert not by_column(table)["text"].is_current
    assert {info.column: info.is_current for info in table.index()}["text"]


def test_what_is_interrupted_leaves_the_table_whole(table, monkeypatch):
    table.index(min_bytes=0)
    grow(table, 1500, 1600)
    with monkeypatch.context() as patched:
        patched.setattr(DatasetOptimizer, "optimize_indices", _fail)
        with pytest.raises(TableError, match=r"cannot index .*: no space left"):
            refresh_indexes(table.location, table.dataset())
    assert table.search(np.eye(1, DIM)[0], where={"n": 1555}).num_rows == 1
    assert table.search('"york 1555"', mode="text").num_rows == 1
    assert refresh_indexes(table.location, table.dataset())
    assert {info.missing for info in by_column(table).values()} == {0}


def _fail(*_, **__):
    raise OSError("no space left")


def test_plain_lancedb_opens_lists_and_searches(table):
    import lancedb

    table.index(min_bytes=0)
    opened = lancedb.connect(table.location.directory).open_table(table.name)
    assert {index.columns[0] for index in opened.list_indices()} >= {"id", "source", "text", "vector", "lang", "tags"}
    found = opened.search(np.eye(1, DIM)[0]).distance_type("cosine").where("n = 7").maximum_nprobes(0).limit(5)
    assert found.to_arrow().column("id").to_pylist() == ["d7"]


def info(rows, missing, partitions, kind="IVF_RQ"):
    return IndexInfo("v", "vector", kind, rows, missing, segments=1, partitions=partitions)


def test_outgrown_is_by_the_mean_partition_with_what_is_missing():
    assert not has_outgrown(info(100 * 4096, 0, 100))
    assert not has_outgrown(info(100 * 4096, 300 * 4096, 100))
    assert has_outgrown(info(100 * 4096, 300 * 4096 + 1, 100))
    assert not has_outgrown(info(10**9, 0, 1, kind="IVF_PQ"))
