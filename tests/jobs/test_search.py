from __future__ import annotations

import io

import pytest

pytestmark = pytest.mark.cluster

QUERY = "orbit rocket moon satellite"


def ids(outcome):
    return [hit["id"] for hit in outcome.json["hits"]]


def test_hits_for_programs(moee, news):
    outcome = moee("search", news.table, QUERY, "-k", 5, "--json")
    assert outcome.status == 0
    assert outcome.json["query"] == QUERY
    scores = [hit["_score"] for hit in outcome.json["hits"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    assert "vector" not in outcome.json["hits"][0]
    assert set(outcome.json["hits"][0]) >= {"id", "text", "theme", "source", "row"}


def test_hits_for_people_are_two_lines_each(moee, news):
    lines = moee("search", news.table, QUERY, "-k", 3).out.splitlines()
    best, *_ = moee("search", news.table, QUERY, "-k", 3, "--json").json["hits"]
    assert len(lines) == 6
    assert lines[0].split("  ") == [
        f"{best['_score']:.3f}",
        best["id"],
        f"theme={best['theme']}",
        f"(cos_h {best['_cos_h']:.3f}, cos_r {best['_cos_r']:.3f})",
    ]
    assert lines[1].strip() == best["text"]
    assert max(map(len, lines)) <= 80


def test_alpha_weighs_the_routing_half_of_the_query(moee, news):
    def scores(*options):
        hits = moee("search", news.table, QUERY, "-k", 90, *options, "--json").json["hits"]
        return {hit["id"]: hit["_score"] for hit in hits}

    own = moee("inspect", news.table, "--json").json["spec"]["alpha"]
    at = {alpha: scores("--alpha", alpha) for alpha in (0, own, 1, 4)}
    assert len(at[0]) == 90
    assert scores() == pytest.approx(at[own], abs=1e-6)
    for name, hidden in at[0].items():
        routing = 2 * at[1][name] - hidden
        assert at[4][name] == pytest.approx((hidden + 4 * routing) / 5, abs=5e-3)


def test_where_keeps_only_what_is_equal(moee, news):
    hits = moee("search", news.table, QUERY, "-k", 90, "--where", "theme=motors", "--json").json["hits"]
    assert [hit["theme"] for hit in hits] == ["motors"] * 30
    assert moee("search", news.table, QUERY, "--where", "theme=' OR 1=1 --", "--json").json["hits"] == []
    assert moee("search", news.table, QUERY, "--where", "theme=nothing").out == "no document matches\n"
    by_sql = moee("search", news.table, QUERY, "--where-sql", "row < 2", "--json")
    assert sorted(ids(by_sql)) == ["d-0", "d-1"]


def test_a_column_that_is_not_there_is_named(moee, news):
    outcome = moee("search", news.table, QUERY, "--where", "author=me")
    assert outcome.status == 2
    assert "there is no such column" in outcome.error


def test_like_gives_the_neighbours_of_a_document(moee, news, lab):
    outcome = moee("search", news.table, "--like", "d-3", "-k", 4, "--json")
    assert len(ids(outcome)) == 4
    assert outcome.json["like"] == ["d-3"]
    missing = moee("search", news.table, "--like", "d-999")
    assert missing.status == 1
    assert "there is no document 'd-999'" in missing.error


def test_the_query_may_come_from_stdin(moee, news, monkeypatch):
    given = moee("search", news.table, QUERY, "--json").json
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUERY}\n"))
    assert moee("search", news.table, "-", "--json").json == given


def test_a_table_that_is_not_there_is_named_with_those_that_are(moee, news):
    outcome = moee("search", f"{news.table}paper", QUERY, "--json")
    assert (outcome.status, outcome.out) == (1, "")
    assert "there is no table" in outcome.error
    assert outcome.error.endswith("has news")
