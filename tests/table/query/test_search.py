"""Search against brute force, on tables whose routing weight is not 1: mistakes are invisible at 1."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from pipeline.embedding.calibration import Calibration, Halves
from pipeline.embedding.combine import combine, unit
from pipeline.errors import FingerprintError, SpecError, TableError, UsageError
from pipeline.table import VectorTable
from pipeline.table.query.search import PLAIN_SEARCH

H, R, N, ALPHA = 24, 16, 400, 2.5


@pytest.fixture(scope="module")
def halves():
    random = np.random.default_rng(7)
    return Halves(random.standard_normal((N, H)).astype(np.float32), random.standard_normal((N, R)).astype(np.float32))


def make_table(table_lab, uri, halves, how="sum", alpha=ALPHA):
    spec = table_lab.spec(combine=how, alpha=alpha if how == "sum" else None)
    keep = pa.schema([("Group", pa.string()), ("n", pa.int64()), ("x", pa.float32()), ("ok", pa.bool_())])
    table = VectorTable.create(uri, spec=spec, meaning=table_lab.MEANING, halves=(H, R), keep=keep)
    numbers = np.arange(N)
    metadata = pa.table(
        {
            "Group": [f"it's {number % 4}" if number % 4 else None for number in numbers],
            "n": numbers % 10,
            "x": pa.array((numbers / 10).astype(np.float32)),
            "ok": numbers % 2 == 0,
        }
    )
    words = ["apple", "pear", "plum", "quince"]
    texts = [f"{words[number % 4]} number{number}" for number in numbers]
    table.add([f"d{number}" for number in numbers], combine(halves, how, alpha), texts=texts, metadata=metadata)
    return table


@pytest.fixture(scope="module")
def table(table_lab, halves, tmp_path_factory):
    made = make_table(table_lab, str(tmp_path_factory.mktemp("lake") / "t"), halves)
    made.index()
    return made


def brute_force(halves, query, alpha):
    """(cos_h + α'·cos_r) / (1 + α') of `query`, a pair of halves, with all documents."""
    hidden = unit(halves.hidden) @ unit(query[0])
    routing = unit(halves.routing) @ unit(query[1])
    return (hidden + alpha * routing) / (1 + alpha)


def numbers_of(hits):
    return [int(name.removeprefix("d")) for name in hits.column("id").to_pylist()]


@pytest.mark.parametrize("alpha", [None, 0, 1, 4, ALPHA])
def test_any_alpha_ranks_and_scores_as_brute_force_does(table, halves, alpha):
    random = np.random.default_rng(1)
    query = random.standard_normal(H).astype(np.float32), random.standard_normal(R).astype(np.float32)
    vector = combine(Halves(query[0][None], query[1][None]), "sum", ALPHA)[0]
    scores = brute_force(halves, query, ALPHA if alpha is None else alpha)
    hits = table.search(vector, k=20, alpha=alpha)
    found = numbers_of(hits)
    assert hits.column("_score").to_numpy() == pytest.approx(scores[found], abs=1e-3)
    assert scores[found] == pytest.approx(np.sort(scores)[::-1][:20], abs=1e-3)
    assert np.all(np.diff(hits.column("_score").to_numpy()) <= 1e-6)


@pytest.mark.parametrize("alpha", [0, 1, 4])
def test_like_a_document_leaves_it_out(table, halves, alpha):
    scores = brute_force(halves, (halves.hidden[11], halves.routing[11]), alpha)
    scores[11] = -np.inf
    hits = table.search(like="d11", k=10, alpha=alpha)
    assert 11 not in numbers_of(hits)
    assert hits.column("_score").to_numpy() == pytest.approx(np.sort(scores)[::-1][:10], abs=2e-3)


def test_alpha_reaches_queries_in_words(table, halves):
    class Encoder:
        def encode_query(self, texts):
            return np.repeat(combine(Halves(halves.hidden[:1], halves.routing[:1]), "sum", ALPHA), len(texts), 0)

    words = VectorTable.open(table.location)
    words.__dict__["encoder"] = Encoder()
    hits = words.search("anything", k=5, alpha=4)
    assert hits.equals(table.search(Encoder().encode_query(["anything"])[0], k=5, alpha=4))
    assert numbers_of(hits)[0] == 0
    assert hits.column("_score")[0].as_py() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("how", ["concat", "hs", "rw"])
def test_only_sum_takes_an_alpha(table_lab, halves, uri, how):
    table = make_table(table_lab, uri, halves, how, None)
    stored = combine(halves, how, None)
    hits = table.search(stored[3], k=5)
    assert numbers_of(hits) == np.argsort(-(stored @ stored[3]))[:5].tolist()
    assert hits.column("_score")[0].as_py() == pytest.approx(1, abs=1e-3)
    with pytest.raises(UsageError, match="only 'sum'"):
        table.search(stored[3], alpha=1.0)


@pytest.mark.parametrize("alpha", [-1, float("nan"), float("inf"), 1e308])
def test_an_alpha_that_is_none(table, alpha):
    with pytest.raises(UsageError, match="alpha"):
        table.search(like="d0", alpha=alpha)


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        ({"Group": "it's 1"}, lambda n: n % 4 == 1),
        ({"n": 3}, lambda n: n % 10 == 3),
        ({"n": "3"}, lambda n: n % 10 == 3),
        ({"x": "12.3"}, lambda n: n == 123),
        ({"ok": "true", "n": 4}, lambda n: n % 10 == 4),
        ({"ok": False}, lambda n: n % 2 == 1),
        ({"n": [1, "2"]}, lambda n: n % 10 in {1, 2}),
        ({"Group": "x' OR 'a' = 'a"}, lambda n: False),
        ({"id": "d5"}, lambda n: n == 5),
    ],
)
def test_where_is_a_filter_before_the_search(table, halves, where, chosen):
    hits = table.search(combine(halves, "sum", ALPHA)[0], k=N, where=where)
    assert sorted(numbers_of(hits)) == [number for number in range(N) if chosen(number)]


def test_where_sql_joins_the_rest(table):
    found = numbers_of(table.search(like="d1", k=N, where={"Group": "it's 1"}, where_sql="n = 1 OR n = 3"))
    assert sorted(found) == [number for number in range(N) if number % 4 == 1 and number % 10 in {1, 3} and number != 1]
    with pytest.raises(TableError, match="cannot search"):
        table.search(like="d1", where_sql="no such sql")


@pytest.mark.parametrize("rest", ["n = 3", "; DROP TABLE t", "LIMIT 1", "nonsense"])
def test_where_sql_is_one_expression_of_which_nothing_is_passed_over(table, rest):
    with pytest.raises(TableError, match="sql parser error"):
        table.search(like="d1", where_sql=f"n = 1 {rest}")
    with pytest.raises(TableError, match="sql parser error"):
        table.facets(["n"], where_sql=f"n = 1 {rest}")
    assert table.facets(["n"], where_sql="n = 1 -- or another")["n"].num_rows == 1


@pytest.mark.parametrize("factor", [1e-30, 1e-300, 1e30, 1e300])
def test_the_length_of_a_query_vector_is_nothing_to_it(table, factor):
    vector = np.arange(1.0, H + R + 1)
    hits, same = table.search(vector * factor, k=20), table.search(vector, k=20)
    assert numbers_of(hits) == numbers_of(same)
    assert hits.column("_score").to_numpy() == pytest.approx(same.column("_score").to_numpy(), abs=1e-6)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"colour": "red"}, "no such column"),
        ({"vector": "1"}, "lists"),
        ({"n": "three"}, "holds int64"),
        ({"n": 1.5}, "holds int64"),
        ({"n": [1, None]}, "ask for it alone, as null"),
        ({"n": []}, "no values"),
    ],
)
def test_where_that_cannot_be(table, where, message):
    with pytest.raises(UsageError, match=message):
        table.search(like="d0", where=where)


def test_columns(table):
    why = ["_score", "_cos_h", "_cos_r"]
    assert table.search(like="d0", k=1).column_names == [
        *(name for name in table.schema.names if name != "vector"),
        *why,
    ]
    assert table.search(like="d0", k=1, columns=["n", "vector"]).column_names == ["n", "vector", *why]
    with pytest.raises(UsageError, match="no column 'colour'"):
        table.search(like="d0", columns=["colour"])


def test_text(table):
    hits = table.search("quince number7", k=3, mode="text", where={"n": 7})
    assert numbers_of(hits)[0] == 7
    scores = hits.column("_score").to_numpy()
    assert scores[0] > scores[1] > 0


def test_words_of_scripts_without_blanks_and_parts_of_names_are_found(table_lab, uri, halves):
    texts = ["今天台风登陆天气很坏", "全文検索はとても速い", "การค้นหาข้อความเต็ม", "node.js and foo_bar, running"]
    table = VectorTable.create(uri, spec=table_lab.spec(), meaning=table_lab.MEANING, halves=(H, R))
    table.add(list("0123"), combine(halves, "sum", 1.0)[:4], texts=texts)
    table.index()
    words = {"天气": "0", "検索": "1", "ค้นหา": "2", "node.js": "3", "bar": "3", "run": "3"}
    assert {word: table.search(word, mode="text").column("id").to_pylist() for word in words} == {
        word: [found] for word, found in words.items()
    }


def test_a_text_index_that_divides_otherwise_is_made_anew(table_lab, uri, halves):
    table = VectorTable.create(uri, spec=table_lab.spec(), meaning=table_lab.MEANING, halves=(H, R))
    table.add(["0"], combine(halves, "sum", 1.0)[:1], texts=["今天台风登陆"])
    table.dataset().create_scalar_index("text", "INVERTED", base_tokenizer="simple")
    assert not table.search("台风", mode="text").num_rows
    table.index()
    assert table.search("台风", mode="text").num_rows == 1


def test_hybrid_joins_both(table, halves):
    vector = combine(halves, "sum", ALPHA)
    hits = table.search("number321", like="d5", k=4, mode="hybrid")
    near = numbers_of(table.search(vector[5], k=3))
    assert set(numbers_of(hits)) >= {321, near[1]}
    assert 5 not in numbers_of(hits)
    assert np.all(np.diff(hits.column("_score").to_numpy()) <= 0)


def test_questions_that_do_not_fit(table):
    vector = np.ones(H + R, np.float32)
    for given in [
        {},
        {"query": vector, "like": "d0"},
        {"query": vector, "mode": "text"},
        {"query": "a", "mode": "words"},
    ]:
        with pytest.raises(UsageError):
            table.search(**given)
    with pytest.raises(UsageError, match="k=0: 1 or more"):
        table.search(vector, k=0)
    with pytest.raises(UsageError, match="40 finite numbers"):
        table.search(np.ones(3))
    with pytest.raises(UsageError, match="finite"):
        table.search(vector * np.nan)
    with pytest.raises(TableError, match="no document 'zz'"):
        table.search(like="zz")


def test_without_a_text_index_or_texts(table_lab, uri, halves):
    table = make_table(table_lab, uri, halves)
    with pytest.raises(TableError, match=r"no text index yet: build it first \(moee index"):
        table.search("apple", mode="text")
    bare = VectorTable.create(
        f"{uri}2", spec=table_lab.spec(), meaning=table_lab.MEANING, halves=(H, R), with_text=False
    )
    with pytest.raises(UsageError, match="stores no texts"):
        bare.search("apple", mode="text")
    assert bare.search(np.ones(H + R)).num_rows == 0


def test_words_need_a_calibration(table):
    with pytest.raises(TableError, match="made elsewhere"):
        table.search("apple")


def test_the_model_found_here_must_be_the_one_that_made_the_vectors(table_lab, uri):
    """A table whose stored meaning is of another checkpoint under the same name."""
    from pipeline.embedding.encoder import Encoder

    encoder = Encoder("mini")
    random = np.random.default_rng(0)
    calibration = Calibration.fit(*(random.standard_normal((9, size)) for size in encoder.halves))
    common = {"spec": encoder.spec, "calibration": calibration, "halves": encoder.halves}
    other = VectorTable.create(f"{uri}-other", meaning={**encoder.meaning, "checkpoint": "elsewhere"}, **common)
    with pytest.raises(FingerprintError, match="checkpoint: the files of the model are not those"):
        other.search("words")
    same = VectorTable.create(uri, meaning=encoder.meaning, **common)
    assert same.search("words", k=3).num_rows == 0
    assert same.encoder.fingerprint == same.fingerprint


def test_vector_index_with_later_rows(table_lab, uri, halves):
    table = make_table(table_lab, uri, halves)
    kinds = {info.column: info.kind for info in table.index(min_bytes=0)}
    assert (kinds["id"], kinds["text"], kinds["vector"]) == ("BTree", "Inverted", "IVF_RQ")
    new = np.random.default_rng(3).standard_normal((5, H + R)).astype(np.float32)
    table.add([f"d{number}" for number in range(N, N + 5)], new)
    assert {info.missing for info in table.index()} == {0}
    assert numbers_of(table.search(new[2], k=1)) == [N + 2]
    query = combine(halves, "sum", ALPHA)[17]
    scores = combine(halves, "sum", ALPHA) @ query
    found = [number for number in numbers_of(table.search(query, k=10)) if number < N]
    assert np.isin(found, np.argsort(-scores)[:10]).mean() >= 0.9


def test_unfitting_dimension_gets_another_index(table_lab, uri):
    table = VectorTable.create(uri, spec=table_lab.spec(), meaning=table_lab.MEANING, halves=(5, 6))
    table.add([f"d{n}" for n in range(300)], np.random.default_rng(0).standard_normal((300, 11)))
    assert {info.column: info.kind for info in table.index(min_bytes=0)}["vector"] == "IVF_SQ"


def test_spec_with_no_alpha_for_concat(table_lab):
    with pytest.raises(SpecError):
        table_lab.spec(combine="concat").resolve({})


def test_a_search_by_vector_imports_neither_lancedb_nor_torch(table):
    code = (
        "import sys, numpy as np; from pipeline.table import VectorTable; table = VectorTable.open(sys.argv[1])\n"
        "hits = table.search(np.ones(table.dim, np.float32), k=3)\n"
        "print(hits.num_rows, sorted({'lancedb', 'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(table.location)], capture_output=True, text=True, check=True)
    assert done.stdout == "3 []\n"


@pytest.fixture(scope="module")
def partitioned(table_lab, tmp_path_factory):
    """4,000 rows whose index has 100 partitions; ten rows have each `n`, spread over all of them."""
    table = VectorTable.create(
        str(tmp_path_factory.mktemp("lake") / "t"), spec=table_lab.spec(), dim=16, keep=pa.schema([("n", pa.int64())])
    )
    vectors = np.random.default_rng(0).standard_normal((4000, 16)).astype(np.float32)
    numbers = pa.table({"n": np.arange(4000) // 10})
    table.add([f"d{number}" for number in range(4000)], vectors, metadata=numbers)
    table.dataset().create_index("vector", "IVF_FLAT", metric="cosine", num_partitions=100)
    return table


@pytest.mark.parametrize("n", [3, 50, 200])
def test_a_filter_loses_no_hits_in_the_partitions_of_an_index(partitioned, n):
    query = np.ones(16, np.float32)
    hits = partitioned.search(query, k=20, where={"n": n})
    assert sorted(numbers_of(hits)) == list(range(10 * n, 10 * n + 10))


def test_plain_lancedb_finds_the_same_with_what_inspect_tells(partitioned):
    query = np.ones(16, np.float32)
    wanted = partitioned.search(query, k=10, where={"n": 3}).column("id").to_pylist()
    assert lancedb_hits(partitioned, query, PLAIN_SEARCH) == wanted
    assert len(lancedb_hits(partitioned, query, "")) < 10  # else nobody needs to be told


def lancedb_hits(table, query, settings):
    import lancedb

    opened = lancedb.connect(table.location.directory).open_table(table.name)
    asked = eval(f"opened.search(query){settings}", {"opened": opened, "query": query})  # our own words
    return asked.where("n = 3").limit(10).to_arrow().column("id").to_pylist()


@pytest.fixture(scope="module")
def equals(table_lab, tmp_path_factory):
    """60 documents that are all the same, added in no order; an index; one more that it does not cover."""
    table = VectorTable.create(str(tmp_path_factory.mktemp("lake") / "t"), spec=table_lab.spec(), dim=16)
    order = np.random.default_rng(1).permutation(60)
    vector = np.random.default_rng(2).standard_normal((1, 16))
    for part in np.split(order, 3):
        table.add([f"d{number:02}" for number in part], np.repeat(vector, 20, 0), texts=["same words"] * 20)
    table.index(min_bytes=0)
    table.add(["d60"], vector, texts=["same words"])
    return table


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_equals_come_in_the_order_of_their_ids_and_long_lists_begin_with_short_ones(equals, mode):
    question = {"query": np.arange(16.0)} if mode == "vector" else {"query": "words", "mode": mode}
    if mode == "hybrid":
        question["like"] = "d60"
    longest = equals.search(k=61, **question)
    order = list(zip((-longest.column("_score").to_numpy()).tolist(), longest.column("id").to_pylist(), strict=True))
    assert order == sorted(order)
    for k in (1, 5, 40):
        assert equals.search(k=k, **question).equals(longest.slice(0, k))


def test_k_is_bounded(table):
    with pytest.raises(UsageError, match="k=1000000000: one search gives at most 10,000 hits"):
        table.search(like="d0", k=10**9)
    assert table.search(like="d0", k=10_000).num_rows == N - 1


@pytest.mark.parametrize("mode", ["text", "hybrid"])
@pytest.mark.parametrize(
    "query", ['"quince number7"', '"number7" "quince"', 'so "quince number7" it is', '"', "number7*"]
)
def test_quotation_marks_are_no_error(table, mode, query, caplog):
    like = {"like": "d0"} if mode == "hybrid" else {}
    hits = table.search(query, k=30, mode=mode, **like)
    if "number7" in query:
        assert 7 in numbers_of(hits)
    if '"quince number7"' in query:
        assert mode == "hybrid" or numbers_of(hits) == [7]
    assert "not phrases" not in caplog.text


def test_an_index_without_positions_takes_a_phrase_for_words_and_says_so(table_lab, uri, halves, caplog):
    table = make_table(table_lab, uri, halves)
    table.dataset().create_scalar_index("text", "INVERTED", with_position=False, base_tokenizer="icu/split")
    hits = table.search('"number7 quince"', k=30, mode="text")
    assert 7 in numbers_of(hits)
    assert "not phrases" in caplog.text
    table.index()
    assert not table.search('"number7 quince"', k=30, mode="text").num_rows


def test_words_that_are_no_text_are_refused(table):
    with pytest.raises(UsageError, match="not valid text"):
        table.search("\ud800", mode="text")
