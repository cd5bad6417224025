"""What a search chooses among the best rows: pages, groups, what scores enough or differs; and what explains a hit."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import combine, unit
from pipeline.errors import TableError, UsageError
from pipeline.table import VectorTable
from pipeline.table.query.diversity import diverse_order

H, R, N, ALPHA = 24, 16, 300, 0.5
WORDS = ["apple", "pear", "plum", "quince", "medlar"]


@pytest.fixture(scope="module")
def halves():
    random = np.random.default_rng(7)
    return Halves(random.standard_normal((N, H)).astype(np.float32), random.standard_normal((N, R)).astype(np.float32))


@pytest.fixture(scope="module")
def table(table_lab, halves, tmp_path_factory):
    keep = pa.schema([("author", pa.string()), ("year", pa.float64()), ("tags", pa.list_(pa.string()))])
    table = VectorTable.create(
        str(tmp_path_factory.mktemp("lake") / "t"),
        spec=table_lab.spec(combine="sum", alpha=ALPHA),
        meaning=table_lab.MEANING,
        halves=(H, R),
        keep=keep,
    )
    numbers = np.arange(N)
    metadata = pa.table(
        {
            "author": [f"it's {number % 7}" if number % 10 else None for number in numbers],
            "year": [float(number % 3) if number % 4 else float("nan") for number in numbers],
            "tags": [["red", "red", "blue"] if number % 2 else ["blue"] for number in numbers],
        }
    )
    texts = [f"{WORDS[number % 5]} {WORDS[number % 3]} number{number}" for number in numbers]
    table.add([f"d{number:03}" for number in numbers], combine(halves, "sum", ALPHA), texts=texts, metadata=metadata)
    table.index()
    return table


QUESTIONS = [
    {"query": np.arange(1.0, H + R + 1)},
    {"query": "apple quince", "mode": "text"},
    {"query": "apple quince", "mode": "hybrid", "like": "d007"},
]


def same(hits, others):
    """Whether these are the same hits; without NaN, which equals nothing."""
    return hits.drop_columns("year").equals(others.drop_columns("year"))


def cosines_of(halves, query):
    h, r = unit(query[:H]), unit(query[H:])
    return unit(halves.hidden) @ h, unit(halves.routing) @ r


@pytest.mark.parametrize("question", QUESTIONS, ids=["vector", "text", "hybrid"])
@pytest.mark.parametrize("more", [{}, {"group_by": "author"}, {"diversity": 0.4}])
def test_pages_make_up_the_one_long_list(table, question, more):
    whole = table.search(k=60, **question, **more)
    assert len(set(whole.column("id").to_pylist())) == whole.num_rows
    pages = [table.search(k=7, offset=offset, **question, **more) for offset in range(0, 63, 7)]
    assert same(pa.concat_tables(pages).slice(0, 60), whole)


def test_a_page_behind_the_end_is_empty(table):
    assert table.search(like="d000", k=5, offset=400).num_rows == 0


def test_hits_tell_the_cosines_of_both_halves_apart(table, halves):
    random = np.random.default_rng(0)
    query = combine(Halves(random.standard_normal((1, H)), random.standard_normal((1, R))), "sum", ALPHA)[0]
    for alpha in (None, 0.0, 4.0):
        hits = table.search(query, k=20, alpha=alpha)
        at = [int(name[1:]) for name in hits.column("id").to_pylist()]
        cos_h, cos_r = cosines_of(halves, query)
        assert hits.column("_cos_h").to_numpy() == pytest.approx(cos_h[at], abs=1e-3)
        assert hits.column("_cos_r").to_numpy() == pytest.approx(cos_r[at], abs=1e-3)
        weight = ALPHA if alpha is None else alpha
        expected = (hits.column("_cos_h").to_numpy() + weight * hits.column("_cos_r").to_numpy()) / (1 + weight)
        assert hits.column("_score").to_numpy() == pytest.approx(expected, abs=1e-3)


def test_a_hybrid_hit_has_its_ranks_in_both_lists(table):
    question = {"query": "quince number7", "like": "d005"}
    hits = table.search(mode="hybrid", k=20, **question)
    near = table.search(like="d005", k=100).column("id").to_pylist()
    worded = table.search("quince number7", mode="text", where_sql="id != 'd005'", k=100).column("id").to_pylist()
    for hit in hits.to_pylist():
        for ranks, name in ((near, "_vector_rank"), (worded, "_text_rank")):
            assert hit[name] == (ranks.index(hit["id"]) + 1 if hit["id"] in ranks else None)
        assert hit["_passage"] == hit["text"]


def test_one_hit_for_each_value_of_a_column_and_rows_without_one_alone(table):
    query = np.arange(1.0, H + R + 1)
    everything = table.search(query, k=N).to_pylist()
    seen, expected = set(), []
    for hit in everything:
        if hit["author"] is None or hit["author"] not in seen:
            expected.append(hit["id"])
            seen.add(hit["author"])
    for k in (1, 5, len(expected), N):
        assert table.search(query, k=k, group_by="author").column("id").to_pylist() == expected[:k]


def test_groups_of_which_one_has_nearly_all_of_the_best_rows_are_all_found(table_lab, uri):
    """More than are looked at first: 999 of one author before the first of another."""
    table = VectorTable.create(uri, spec=table_lab.spec(), dim=8, keep=pa.schema([("author", pa.string())]))
    vectors = np.ones((1002, 8)) + np.linspace(0, 1, 1002)[:, None] * np.eye(8)[0]
    authors = ["one"] * 999 + ["two", "three", None]
    table.add([f"{n:04}" for n in range(1002)], vectors, metadata=pa.table({"author": authors}))
    hits = table.search(np.ones(8), k=4, group_by="author")
    assert hits.column("author").to_pylist() == ["one", "two", "three", None]


def test_nan_is_no_value_to_group_by(table):
    hits = table.search(np.arange(1.0, H + R + 1), k=N, group_by="year")
    years = hits.column("year").to_pylist()
    assert sorted(year for year in years if not math.isnan(year)) == [0, 1, 2]
    assert sum(map(math.isnan, years)) == N / 4


def test_min_score_leaves_out_what_scores_less(table):
    hits = table.search(like="d001", k=50)
    least = hits.column("_score")[20].as_py()
    assert same(table.search(like="d001", k=50, min_score=least), hits.slice(0, 21))
    assert table.search(like="d001", k=50, min_score=2).num_rows == 0


def test_examples_to_be_like_and_unlike(table, halves):
    stored = combine(halves, "sum", ALPHA)
    hits = table.search(like=["d003", "d004"], unlike=["d008", "d009"], k=N)
    wanted = 2 * unit(stored[[3, 4]].mean(axis=0)) - unit(stored[[8, 9]].mean(axis=0))
    scores = stored @ unit(wanted)
    assert hits.num_rows == N - 4
    assert not {"d003", "d004", "d008", "d009"} & {*hits.column("id").to_pylist()}
    at = [int(name[1:]) for name in hits.column("id").to_pylist()]
    assert scores[at] == pytest.approx(np.sort(np.delete(scores, [3, 4, 8, 9]))[::-1], abs=2e-3)
    query = stored[20]
    away = table.search(query, unlike="d020", k=1)  # the same vector: 2q - q
    assert away.column("id").to_pylist() != ["d020"]


def test_diverse_hits_are_the_best_ones_at_0_and_differ_more_and_more(table):
    query = np.arange(1.0, H + R + 1)
    assert same(table.search(query, k=20, diversity=0), table.search(query, k=20))

    def alike(hits):
        vectors = np.stack(hits.column("vector").to_numpy())
        return (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)].mean()

    found = [alike(table.search(query, k=20, diversity=diversity, columns=["vector"])) for diversity in (0, 0.5, 1.0)]
    assert found[0] > found[1] > found[2]


@given(st.integers(1, 30), st.floats(0, 1), st.integers(0, 10_000))
def test_diverse_order_begins_with_the_best_and_takes_the_greatest_marginal_relevance(n, diversity, seed):
    random = np.random.default_rng(seed)
    vectors = unit(random.standard_normal((n, 5)))
    scores = np.sort(random.random(n).astype(np.float32))[::-1]
    order = diverse_order(vectors, scores, diversity, n)
    assert sorted(order) == list(range(n))
    assert order[0] == 0
    for at in range(1, n):
        closest = (vectors @ vectors[order[:at]].T).max(axis=1)
        marginal = (1 - diversity) * scores - diversity * closest
        assert marginal[order[at]] >= np.delete(marginal, order[:at]).max() - 1e-6
    assert np.array_equal(diverse_order(vectors, scores, diversity, n // 2), order[: n // 2])


def test_many_queries_at_once_give_what_each_gives_alone(table):
    random = np.random.default_rng(3)
    queries = random.standard_normal((70, H + R)).astype(np.float32)
    alphas = [None, 0.0, 2.5] * 23 + [None]
    found = list(table.search_many(queries, k=4, alpha=alphas, where={"author": "it's 3"}))
    assert len(found) == 70
    for query, alpha, hits in zip(queries, alphas, found, strict=True):
        assert same(hits, table.search(query, k=4, alpha=alpha, where={"author": "it's 3"}))
    assert list(table.search_many([])) == []
    with pytest.raises(UsageError, match="70 queries, but 1 values of alpha"):
        table.search_many(queries, alpha=[1.0])
    with pytest.raises(UsageError, match="no such column"):  # before the first hit is asked for
        table.search_many(queries, where={"colour": "red"})


def test_queries_in_words_are_encoded_together(table, halves):
    calls = []

    class Encoder:
        def encode_query(self, texts):
            calls.append(len(texts))
            at = [int(text) for text in texts]
            return combine(Halves(halves.hidden[at], halves.routing[at]), "sum", ALPHA)

    words = VectorTable.open(table.location)
    words.__dict__["encoder"] = Encoder()
    found = list(words.search_many([str(number) for number in range(100)], k=1))
    assert [hits.column("id")[0].as_py() for hits in found] == [f"d{number:03}" for number in range(100)]
    assert len(calls) <= 3


def test_facets_count_values_under_a_condition(table):
    counts = table.facets(["author", "tags", "year"], where={"author": ["it's 1", "it's 2"]})
    rows = [n for n in range(N) if n % 10 and n % 7 in {1, 2}]
    authors = {f"it's {each}": sum(n % 7 == each for n in rows) for each in (1, 2)}
    assert dict(zip(*counts["author"].to_pydict().values(), strict=True)) == authors
    assert counts["tags"].to_pylist() == [
        {"value": "blue", "count": len(rows)},
        {"value": "red", "count": sum(n % 2 for n in rows)},
    ]
    assert counts["year"].column("count").to_pylist() == sorted(
        counts["year"].column("count").to_pylist(), reverse=True
    )
    assert table.facets(["author"], most=2)["author"].num_rows == 2
    assert table.facets(["author"], where={"author": "nobody"})["author"].num_rows == 0
    with pytest.raises(UsageError, match="facet 'vector': the column holds"):
        table.facets(["vector"])
    with pytest.raises(UsageError, match="facet 'colour': there is no such column; there are id"):
        table.facets(["colour"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"k": 1e9}, "k=1000000000.0: a whole number"),
        ({"k": True}, "whole number"),
        ({"offset": -1}, "offset=-1: 0 or more"),
        ({"offset": 9_999, "k": 2}, "offset=9999: one search gives at most 10,000"),
        ({"diversity": 1.1}, "from 0 to 1"),
        ({"diversity": float("nan")}, "from 0 to 1"),
        ({"diversity": 0.5, "k": 300}, "best 200 hits"),
        ({"min_score": "high"}, "a number"),
        ({"group_by": "colour"}, "no such column"),
        ({"group_by": "tags"}, "cannot be compared"),
        ({"unlike": "d000"}, "'d000' is in like and in unlike"),
        ({"unlike": "zz"}, "no document 'zz'"),
        ({"unlike": [3]}, "ids of documents"),
        ({"columns": "id"}, "a list of column names"),
        ({"at": 1.5}, "number of a version"),
        ({"at": 99}, "no version 99 that could still be read; kept are"),
        ({"at": "monday"}, "no tag 'monday'; there are: none"),
        ({"by": "document"}, "no option 'by'; there are query, k"),
        ({"at": -1}, "number of a version"),
        ({"at": 10**20}, "no version 100000000000000000000 "),
        ({"at": "m" * 10**6}, "no tag 'mmm"),
        ({"where_sql": " "}, "where_sql=' ': a condition in SQL"),
        ({"where_sql": 5}, "where_sql=5: a condition in SQL"),
        ({"columns": 3}, "columns=3: a list of column names"),
        ({"columns": (name for name in ["id"])}, "a list of column names"),
        ({"columns": ["c" * 10**6]}, "no column 'ccc"),
        ({"group_by": "g" * 10**6}, "group_by='ggg"),
        ({"mode": ["vector"]}, "choose vector, text or hybrid"),
        ({"like": 3}, "like=3: ids of documents"),
        ({"like": "d" * 10**6}, "no document 'ddd"),
        ({"where": {"w" * 10**6: 1}}, "where 'www"),
        ({"where": {"w\n\x1b[2J": 1}}, r"where 'w\\n\\x1b"),
        ({"where": {"author": {"o" * 10**6: 1}}}, "no comparison 'ooo"),
        ({"where": {"year": pa.array([1, 2])}}, "the column holds"),
        ({"like": None, "query": ["some", "words"]}, "words, or a vector of numbers"),
        ({"like": None, "query": {"a": 1}}, "words, or a vector of numbers"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_line(table, asked, message):
    with pytest.raises((UsageError, TableError), match=message) as raised:
        table.search(**{"like": "d000", **asked})
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 500


@pytest.mark.parametrize("queries", ["one text", None, (text for text in ["a"])])
def test_many_queries_are_a_list(table, queries):
    with pytest.raises(UsageError, match=r"queries=.*: a list"):
        table.search_many(queries)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"columns": "author"}, "a list of column names"),
        ({"columns": ["author"], "most": 0}, "most=0: 1 or more"),
        ({"columns": ["author"], "most": "all"}, "a whole number"),
        ({"columns": ["author"], "at": True}, "number of a version"),
        ({"columns": ["author"], "where_sql": ""}, "a condition in SQL"),
    ],
)
def test_what_cannot_be_counted_is_one_clear_line(table, asked, message):
    with pytest.raises(UsageError, match=message):
        table.facets(**asked)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()])
def test_facets_of_numbers_know_one_zero_and_one_nan(table_lab, uri, kind):
    table = VectorTable.create(uri, spec=table_lab.spec(), dim=8, keep=pa.schema([("x", kind)]))
    values = np.array([0.0, -0.0, -0.0, 1.5, np.nan, np.nan], kind.to_pandas_dtype())
    table.add([str(n) for n in range(6)], np.eye(8)[:6], metadata=pa.table({"x": pa.array(values, from_pandas=False)}))
    counts = table.facets(["x"])["x"].to_pydict()
    assert counts["count"] == [3, 2, 1]
    assert [str(abs(value)) for value in counts["value"]] == ["0.0", "nan", "1.5"]


def test_a_query_of_a_million_letters_is_refused(table):
    with pytest.raises(UsageError, match="the query has 1,000,000 characters") as raised:
        table.search("a" * 10**6, mode="text")
    assert len(str(raised.value)) < 200
