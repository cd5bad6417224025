from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.combine import query_vector, unit
from pipeline.table.indexes.check import IndexCheck, Measured, check_indexes, recall
from pipeline.table.indexes.listing import IndexInfo

ROWS, QUERIES = 2000, 20


@pytest.fixture(scope="module")
def table(table_lab, tmp_path_factory):
    made = table_lab.create(str(tmp_path_factory.mktemp("check") / "docs"))
    made.add([f"d{row:04}" for row in range(ROWS)], table_lab.vectors(ROWS), texts=[""] * ROWS)
    return made


@pytest.fixture(scope="module")
def exact(table):
    """Search as `check_indexes` asks for it, by comparing all rows, and what it was asked."""
    rows = table.dataset().to_table(columns=["id", "vector"])
    ids = rows.column("id").to_numpy()
    vectors = unit(np.stack(rows.column("vector").to_numpy()).astype(np.float32))
    asked = []

    def ask(vector, k, alpha, where):
        asked.append((alpha, where))
        query = query_vector(vector, "sum", table.halves[0], table.spec.alpha, alpha)
        scores = query.scale * vectors @ query.vector
        if where is not None:
            scores[(ids < where["id"]["gte"]) | (ids >= where["id"]["lt"])] = -np.inf
        best = [row for row in np.argsort(-scores)[:k] if np.isfinite(scores[row])]
        return pa.table({"id": ids[best], "_score": scores[best].astype(np.float32)})

    ask.asked = asked
    return ask


def check(table, ask, **fields):
    spec = table.spec.model_copy(update=fields)
    return check_indexes(table.location, table.dataset(), spec, table.halves[0], ask, queries=QUERIES, seed=0)


def test_what_finds_everything_has_a_recall_of_one(table, exact):
    found = check(table, exact)
    assert [(each.name, each.recall) for each in found.measured] == [
        ("plain", 1), ("filter of 1%", 1), ("alpha 0", 1), ("alpha 4", 1)
    ]  # fmt: skip
    assert (found.rows, found.queries, found.vector_index, found.unindexed) == (ROWS, QUERIES, None, 1.0)
    assert all(0 <= each.p50_ms <= each.p95_ms for each in found.measured)


def test_every_second_hit_lost_is_a_recall_of_a_half(table, exact):
    def lossy(*asked):
        return (hits := exact(*asked)).take(np.arange(0, len(hits), 2))

    assert [each.recall for each in check(table, lossy).measured] == [pytest.approx(0.5, abs=0.06)] * 4


def test_another_weight_than_the_one_asked_for_is_seen(table, exact):
    found = check(table, lambda vector, k, _, where: exact(vector, k, None, where))
    recalls = {each.name: each.recall for each in found.measured}
    assert recalls["plain"] == 1
    assert max(recalls["alpha 0"], recalls["alpha 4"]) < 0.9


def test_the_filter_passes_one_row_in_a_hundred(table, exact):
    check(table, exact)
    between = next(where for _, where in reversed(exact.asked) if where)["id"]
    assert table.dataset().count_rows(f"id >= '{between['gte']}' AND id < '{between['lt']}'") == ROWS // 100


def test_only_sums_are_asked_with_other_weights(table, exact):
    assert {each.name for each in check(table, exact, combine="concat", alpha=None).measured} == {
        "plain", "filter of 1%"
    }  # fmt: skip


def test_an_empty_table_has_nothing_to_measure(table_lab, uri, exact):
    found = check(table_lab.create(uri), exact)
    assert (found.rows, found.measured, found.advice) == (0, (), ())


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40), st.integers(1, 10))
def test_recall_is_the_share_of_the_best_scores_that_is_there(scores, found):
    best = np.full(10, -np.inf, np.float32)
    ranked = np.sort(np.float32(scores))[::-1][:10]
    best[: len(ranked)] = ranked
    assert recall(ranked[:found], best) == pytest.approx(min(found, len(ranked)) / len(ranked))
    assert recall(ranked - 1e-3, best) <= recall(ranked, best) == 1


def test_where_nothing_can_be_found_nothing_is_missing():
    assert recall(np.empty(0, np.float32), np.full(10, -np.inf, np.float32)) == 1


def a_check(*columns, rows=1_000_000, missing=0, recall=1.0):
    indexes = tuple(IndexInfo(f"{column}_idx", column, "kind", rows - missing, missing, 1) for column in columns)
    return IndexCheck("lake/docs", rows, 2048 * rows, 50, indexes, (Measured("plain", recall, 5.0, 9.0),))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (a_check("vector", "id"), []),
        (a_check(rows=200), []),
        (a_check(), ["there is no vector index, and 1,000,000 rows are worth one: moee index lake/docs"]),
        (a_check("vector", "id", missing=200_000), ["200,000 rows came after the vector index"]),
        (a_check("vector", "id", recall=0.9), ["hits are missed (plain)"]),
        (a_check("vector"), ["there is no index on ids"]),
        (a_check("vector", missing=200_000, recall=0.9), ["200,000 rows came after", "there is no index on ids"]),
    ],
)
def test_the_advice_names_what_is_wrong_and_what_to_type(found, said):
    assert len(found.advice) == len(said)
    assert all(text in line and "moee index lake/docs" in line for text, line in zip(said, found.advice, strict=True))


def test_an_index_of_another_program_stays_until_it_is_to_be_built_again(table_lab, uri):
    table = table_lab.create(uri)
    table.add([f"d{row}" for row in range(300)], table_lab.vectors(300), texts=["text"] * 300)
    table.dataset().create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=2)
    kinds = [
        next(index.kind for index in table.index(min_bytes=0, rebuild=rebuild) if index.column == "vector")
        for rebuild in (False, True)
    ]
    assert kinds == ["IVF_FLAT", "IVF_RQ"]
