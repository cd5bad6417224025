"""Near-duplicates of tables, against the scores that a search reports."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import combine, unit
from pipeline.errors import UsageError
from pipeline.table import VectorTable
from pipeline.table.duplicates import find, marks, pairs
from pipeline.table.duplicates.vectors import take_rows
from pipeline.table.schema import metadata_value

ROWS, ALPHA = 200, 2.5


@pytest.fixture(scope="module")
def vectors(table_lab):
    """In the stored form; every fifth is near the one before, 50 to 52 are equal."""
    made = table_lab.vectors(ROWS).astype(np.float32)
    made[5::5] = made[4:-1:5] + 0.2 * table_lab.vectors(len(made[5::5]), seed=1)
    made[51:53] = made[50]
    halves = Halves(*np.split(made, [table_lab.H], axis=1))
    return combine(halves, "sum", ALPHA).astype(np.float16)


@pytest.fixture(scope="module")
def table(table_lab, vectors, tmp_path_factory):
    """In three fragments, two of which have lost rows."""
    table = table_lab.create(str(tmp_path_factory.mktemp("lake") / "t"), keep=pa.schema([("n", pa.int64())]))
    for rows in np.array_split(np.arange(ROWS), 3):
        metadata = pa.table({"n": rows % 7})
        texts = [f"text {row}" for row in rows]
        table.add([f"d{row:03}" for row in rows], vectors[rows], texts=texts, metadata=metadata)
    table.delete(["d000", "d004", "d100"])
    return table


def score_matrix(vectors, table_lab, alpha):
    h, r = (unit(half.astype(np.float32)) for half in np.split(vectors, [table_lab.H], axis=1))
    return (h @ h.T + alpha * (r @ r.T)) / (1 + alpha)


def expected_pairs(scores, least, gone=(0, 4, 100)):
    return {
        (f"d{a:03}", f"d{b:03}") for a, b in np.argwhere(np.triu(scores >= least, 1)) if a not in gone and b not in gone
    }


def as_set(found):
    return set(zip(found.column("a").to_pylist(), found.column("b").to_pylist(), strict=True))


@pytest.mark.parametrize("alpha", [None, 0, 4])
def test_pairs_are_those_that_a_search_scores_enough(table, table_lab, vectors, alpha):
    found = table.duplicates(0.97, alpha=alpha)
    scores = score_matrix(vectors, table_lab, ALPHA if alpha is None else alpha)
    assert abs(scores - 0.97).min() > 1e-5  # no pair on the edge
    assert as_set(found) == expected_pairs(scores, 0.97)
    assert len(as_set(found)) == found.num_rows > 20
    assert metadata_value(found.schema, "exact") == "true"
    assert metadata_value(found.schema, "rows") == str(ROWS - 3)
    order = [(-row["_score"], row["a"], row["b"]) for row in found.to_pylist()]
    assert order == sorted(order)
    pair = found.slice(4, 1).to_pylist()[0]
    hits = table.search(like=pair["a"], alpha=alpha, k=50).to_pylist()
    assert {hit["id"]: hit["_score"] for hit in hits}[pair["b"]] == pytest.approx(pair["_score"], abs=5e-4)


def test_groups_are_what_pairs_connect(table):
    pairs_found, groups = table.duplicates(0.97), table.duplicates(0.97, groups=True)
    group = dict(zip(groups.column("id").to_pylist(), groups.column("group").to_pylist(), strict=True))
    assert group.keys() == {end for pair in as_set(pairs_found) for end in pair}
    assert all(group[a] == group[b] for a, b in as_set(pairs_found))
    kept = {row["group"]: row["id"] for row in groups.to_pylist() if row["kept"]}
    assert kept == {each: min(name for name in group if group[name] == each) for each in set(group.values())}
    scores = {(row["a"], row["b"]): row["_score"] for row in pairs_found.to_pylist()}
    for row in groups.to_pylist():
        pair = (kept[row["group"]], row["id"])
        assert row["_score"] == pytest.approx(1 if row["kept"] else scores.get(pair, row["_score"]), abs=1e-6)


def test_only_rows_of_the_condition_are_compared(table):
    everywhere = as_set(table.duplicates(0.97))
    inside = {(a, b) for a, b in everywhere if int(a[1:]) % 7 in {1, 2} and int(b[1:]) % 7 in {1, 2}}
    assert as_set(table.duplicates(0.97, where={"n": [1, 2]})) == inside
    assert as_set(table.duplicates(0.97, where_sql="n in (1, 2)")) == inside
    assert inside


def test_rows_in_cells_read_piece_by_piece_give_the_same(table, monkeypatch):
    exact = table.duplicates(0.97), table.duplicates(0.97, groups=True)
    monkeypatch.setattr(marks, "READ_ROWS", 37)
    monkeypatch.setattr(find, "BUNDLE_ROWS", 50)
    for module in (marks, find):
        monkeypatch.setattr(module, "EXACT_ROWS", 100)
    phases = []
    found = table.duplicates(0.97, phase=phases.append)
    assert metadata_value(found.schema, "exact") == "false"
    assert as_set(found) <= as_set(exact[0])
    assert found.num_rows > 0.9 * exact[0].num_rows
    assert {("d050", "d051"), ("d050", "d052"), ("d051", "d052")} <= as_set(found)
    assert table.duplicates(0.97, groups=True).num_rows > 0.9 * exact[1].num_rows
    assert phases == ["looking for rows", "finding 28 cells", "reading 197 vectors", "comparing 195 vectors", "sorting"]


def test_chunks_of_one_document_are_no_pair(table_lab, tmp_path):
    location = str(tmp_path / "t")
    table = table_lab.create(location)
    chunked = VectorTable.create(
        str(tmp_path / "c"), spec=table.spec, meaning=table.meaning, halves=table.halves, reader={"chunk": [64, 0]}
    )
    import lance

    vectors = table_lab.vectors(4)[[0, 0, 0, 1, 1, 2]]
    rows = table_lab.as_rows(
        [{"id": f"{name}", "text": "", "source": "s", "slice": at, "row": 0} for at, name in enumerate("abcdef")]
    ).drop_columns("vector")
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    rows = rows.append_column("vector", column).append_column("doc_id", pa.array(list("112333")))
    missing = [field for field in chunked.schema if field.name not in rows.column_names]
    for field in missing:
        values = pa.array([0] * 6, field.type) if not field.nullable else pa.nulls(6, field.type)
        rows = rows.append_column(field.name, values)
    lance.write_dataset(rows.select(chunked.schema.names).cast(chunked.schema), chunked.location.uri, mode="append")
    assert as_set(chunked.duplicates()) == {("a", "c"), ("b", "c")}
    assert chunked.duplicates(groups=True).column("id").to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows(table_lab, uri, rows):
    table = table_lab.create(uri)
    if rows:
        table.add([f"d{row}" for row in range(rows)], np.tile(table_lab.vectors(1), (rows, 1)))
    assert table.duplicates().to_pylist() == ([{"a": "d0", "b": "d1", "_score": 1.0}] if rows == 2 else [])
    assert table.duplicates(groups=True).num_rows == (2 if rows == 2 else 0)


def test_many_equal_rows_are_a_group_but_too_many_pairs(table_lab, uri, monkeypatch):
    monkeypatch.setattr(pairs, "MAX_PAIRS", 100)
    table = table_lab.create(uri)
    table.add([f"d{row}" for row in range(50)], np.tile(table_lab.vectors(1), (50, 1)))
    with pytest.raises(UsageError, match=r"more than 100 pairs"):
        table.duplicates()
    groups = table.duplicates(groups=True)
    assert set(groups.column("group").to_pylist()) == {0}
    assert groups.num_rows == 50


@pytest.mark.parametrize("score", [0, -1, 1.01, float("nan")])
def test_a_score_that_cannot_be_meant_is_refused(table, score):
    with pytest.raises(UsageError, match="near-duplicates score more than 0 and at most 1"):
        table.duplicates(score)


def test_rows_are_taken_by_their_numbers_where_others_were_deleted(table):
    dataset = table.dataset()
    names = dataset.to_table(columns=["id"]).column("id").to_pylist()
    rows = np.array([0, 1, 3, 60, 99, 150, 196])
    assert take_rows(dataset, rows, ["id"]).column("id").to_pylist() == [names[row] for row in rows]
    assert take_rows(dataset, rows[:0], ["id"]).num_rows == 0
