"""What a service answers, against what the table itself answers; hostile questions; nothing of the input comes back."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import UsageError
from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.table import VectorTable
from pipeline.values import as_json

CANARY = "canary7f3a"


def in_pieces(piece, count):
    """A body whose length nobody says beforehand."""

    async def pieces():
        for _ in range(count):
            yield piece

    return pieces()


def hits_of(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["hits"]


@pytest.mark.parametrize(
    "question",
    [
        {"query": "rockets in orbit"},
        {"query": "rockets in orbit", "k": 3, "offset": 2, "alpha": 4, "where": {"theme": ["space", "food"]}},
        {"query": '"motor engine" bread', "mode": "text"},
        {"query": "oven", "mode": "hybrid", "group_by": "theme", "columns": ["theme"]},
        {"like": ["d/0", "d/3"], "unlike": "d/1", "diversity": 0.4, "min_score": -1},
        {"query": "oven", "where": {"or": [{"n": {"lt": 3}}, {"not": {"theme": "cars"}}]}},
    ],
)
def test_a_search_gives_what_the_table_gives(served, table, question):
    ours = hits_of(served("POST", "/search", json=question))
    theirs = as_json(table.search(**question))
    assert [hit.get("id") for hit in ours] == [hit.get("id") for hit in theirs]
    assert [hit["_score"] for hit in ours] == pytest.approx([hit["_score"] for hit in theirs], abs=1e-5)
    assert [sorted(hit) for hit in ours] == [sorted(hit) for hit in theirs]


def test_a_vector_is_a_query_too(served, table, encoder):
    vector = encoder.encode("bread")
    ours = hits_of(served("POST", "/search", json={"query": vector.tolist(), "k": 3}))
    assert [hit["id"] for hit in ours] == table.search(vector, 3).column("id").to_pylist()


def test_addresses_and_batches_give_the_same(served):
    by_body = hits_of(served("POST", "/search", json={"query": "oven", "k": 4, "where": {"n": {"gte": 5}}}))
    by_address = hits_of(served("GET", "/search", params={"query": "oven", "k": 4, "where": "n>=5"}))
    assert by_address == by_body
    batch = served("POST", "/search/batch", json={"queries": ["oven", "rocket"], "k": 4, "where": {"n": {"gte": 5}}})
    first, second = batch.json()["answers"]
    assert [hit["id"] for hit in first] == [hit["id"] for hit in by_body]
    assert second[0]["theme"] == "space"


def test_documents_neighbours_and_facets(served, table):
    row = served("GET", "/documents/d/4").json()["rows"]
    assert [(each["id"], each["theme"]) for each in row] == [("d/4", "cars")]
    assert "vector" not in row[0]
    near = hits_of(served("GET", "/similar/d/4", params={"k": 3}))
    assert [hit["id"] for hit in near] == table.search(like="d/4", k=3).column("id").to_pylist()
    counts = served("GET", "/facets", params={"column": "theme", "where": ["n<10", "theme!=food"]}).json()["facets"]
    assert {each["value"]: each["count"] for each in counts["theme"]} == {"space": 4, "cars": 3}


def test_tables_metrics_and_openapi(served, table):
    (about,) = served("GET", "/tables").json()["tables"]
    assert about["rows"] == 30
    assert about["spec"]["model"] == "mini"
    assert about["modes"] == ["vector", "text", "hybrid"]
    assert b'moee_table_rows{table="docs"} 30.0' in served("GET", "/metrics").content
    schema = served("GET", "/openapi.json").json()
    assert {"/search", "/search/batch", "/similar/{id}", "/documents/{id}", "/facets", "/topics"} <= schema[
        "paths"
    ].keys()
    assert schema["components"]["schemas"]["SearchRequest"]["examples"]
    assert "where_sql" not in json.dumps(schema)


def test_instants_dates_and_lists_in_addresses(encoder, ask, tmp_path):
    keep = pa.schema([
        ("at", pa.timestamp("us", "UTC")), ("local", pa.timestamp("ms")), ("day", pa.date32()),
        ("tags", pa.list_(pa.string())), ("times", pa.list_(pa.timestamp("s", "UTC"))),
        ("vague", pa.struct([("a", pa.int64())])),
    ])  # fmt: skip
    at = [dt.datetime(2020, 1, day, 12, tzinfo=dt.UTC) for day in range(1, 11)]
    tags = [["a", "b"][: day % 3] for day in range(10)]
    times = [[each] for each in at]
    columns = [
        at,
        [each.replace(tzinfo=None) for each in at],
        [each.date() for each in at],
        tags,
        times,
        [{"a": 1}] * 10,
    ]
    metadata = pa.table({field.name: pa.array(values, field.type) for field, values in zip(keep, columns, strict=True)})
    uri = str(tmp_path / "lake" / "t")
    table = VectorTable.create(uri, spec=encoder.spec, dim=4, keep=keep)
    table.add([str(day) for day in range(10)], np.ones((10, 4)), texts=["a"] * 10, metadata=metadata)
    app = create_app(ServiceSettings(tables=(uri,)))

    def found(*where):
        answer = ask(None, "GET", "/facets", app=app, params={"column": "id", "where": where})
        return len(answer.json()["facets"]["id"]) if answer.status_code == 200 else answer.json()["detail"]

    assert found("at>=2020-01-04T13:00:00+01:00") == found("at>=2020-01-04T12:00:00Z", "at<2021-01-01T00:00:00Z") == 7
    assert found("local<2020-01-03T00:00:00", "day>2020-01-01") == 1
    assert (found("tags=a"), found("tags=a", "tags=b"), found('{"tags": {"has_all": ["a", "b"]}}')) == (6, 6, 3)
    assert found("times=2020-01-02T12:00:00Z") == 1
    assert "write 2020-09-13T12:26:40Z" in found("at>=2020-01-04")
    assert "lists of string" in found("tags>a")
    params = {"column": ["tags", "at"], "most": 1}
    assert ask(None, "GET", "/facets", app=app, params=params).json()["facets"] == {
        "tags": [{"value": "a", "count": 6}],
        "at": [{"value": "2020-01-01T12:00:00Z", "count": 1}],
    }
    refused = ask(None, "GET", "/facets", app=app, params={"column": "vague"})
    assert (refused.status_code, "cannot be counted" in refused.json()["detail"]) == (422, True)


def test_the_name_of_a_table_stays_in_a_message_and_its_modes_are_told(ask, make_table, tmp_path):
    bare = make_table(str(tmp_path / "documents"))
    settings = {"tables": (str(bare.location),)}
    asked = {"query": "a", "table": "documents"}
    answer = ask(settings, "POST", "/search", json={**asked, "mode": "text"})
    assert (answer.status_code, answer.json()["detail"][:42]) == (404, "documents has no text index yet: build it ")
    assert ask(settings, "GET", "/tables").json()["tables"][0]["modes"] == ["vector"]


def test_head_is_answered_as_get_is(served):
    for path in ("/", "/tables", "/healthz"):
        assert served("HEAD", path).headers["content-type"] == served("GET", path).headers["content-type"]
    assert served("HEAD", "/tables").status_code == 200


def test_probes_may_add_what_they_like_to_an_address(served):
    assert served("GET", "/healthz", params={"probe": "1"}).status_code == 200


def test_what_a_method_may_be_is_told(served):
    assert served("DELETE", "/search").headers["allow"] in {"GET", "POST"}


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/search", {"json": {"query": CANARY, "k": 10**9}}, 422),
        ("POST", "/search", {"json": {"query": CANARY, "k": "many"}}, 422),
        ("POST", "/search", {"json": {"query": CANARY * 2000}}, 422),
        ("POST", "/search", {"json": {"query": "a", CANARY: 1}}, 422),
        ("POST", "/search", {"json": {"query": "a", "where_sql": CANARY}}, 422),
        ("POST", "/search", {"json": {"query": "a", "where": {CANARY: 1}}}, 422),
        ("POST", "/search", {"json": {"query": "a", "where": {"n": CANARY}}}, 422),
        ("POST", "/search", {"json": {"query": "a", "where": {"n": {CANARY: 1}}}}, 422),
        ("POST", "/search", {"json": {"query": "a", "columns": [CANARY]}}, 422),
        ("POST", "/search", {"json": {"query": "a", "group_by": CANARY}}, 422),
        ("POST", "/search", {"json": {"query": [1.0]}}, 422),
        ("POST", "/search", {"json": {"like": CANARY}}, 404),
        ("POST", "/search", {"json": {"query": "a", "at": CANARY}}, 404),
        ("POST", "/search", {"json": {"query": "a", "table": CANARY}}, 422),
        ("GET", "/search", {"params": {"query": "a", "at": "9" * 5000}}, 404),
        ("POST", "/search", {"json": {}}, 422),
        ("POST", "/search", {"content": '{"query": "' + CANARY}, 422),
        ("POST", "/search", {"content": b"\xff\xfe" + CANARY.encode()}, 422),
        ("POST", "/search", {"content": b'{"query": "\\ud800 canary7f3a"}',
                             "headers": {"content-type": "application/json"}}, 422),
        ("POST", "/search/batch", {"json": {"queries": [CANARY] * 300}}, 422),
        ("POST", "/search/batch", {"json": {"queries": []}}, 422),
        ("GET", "/search", {"params": {"query": "a", "where": f"'; DROP {CANARY}"}}, 422),
        ("GET", f"/documents/{CANARY}", {}, 404),
        ("GET", "/documents/../../etc/passwd", {}, 404),
        ("GET", "/documents/%2e%2e%2f%2e%2e%2fetc%2fpasswd", {}, 404),
        ("GET", f"/{CANARY}", {}, 404),
        ("GET", "/search", {"params": {"query": "a", CANARY: "1"}}, 422),
        ("POST", f"/search?k={CANARY}", {"json": {"query": "a"}}, 422),
        ("DELETE", "/documents/d/1", {}, 405),
        ("PUT", "/search", {"json": {"query": CANARY}}, 405),
        ("GET", f"/topics/{CANARY}", {}, 422),
        ("GET", "/topics/-99999999999999999999", {}, 422),
        ("GET", "/facets", {"params": {"column": "n", "where": f"{CANARY}=1"}}, 422),
        ("GET", "/facets", {"params": {"column": "n", "where": f'{{"not": {{"{CANARY}": 1}}}}'}}, 422),
        ("GET", "/similar/d/1", {"params": {"where": f"{CANARY}: x is null"}}, 422),
        ("POST", "/search/batch", {"json": {"queries": ["a", [7.125, 1.0]]}}, 422),
        ("POST", "/search/batch", {"json": {"queries": ["a", "b"], "alpha": [1.0]}}, 422),
        ("POST", "/search/batch", {"json": {"queries": ["a"] * 50, "k": 300}}, 422),
        ("POST", "/search", {"json": {"query": CANARY, "mode": "text", "at": 1}}, 404),
        ("POST", "/search", {"content": b"[" * 200_000, "headers": {"content-type": "application/json"}}, 400),
        ("GET", "/topics", {}, 404),
        ("POST", "/search", {"content": b"x" * 2_000_000}, 413),
        ("POST", "/search", {"content": in_pieces(b" " * 60_000, 40)}, 413),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_a_problem_that_repeats_nothing(served, method, path, content, status):
    answer = served(method, path, **content)
    assert answer.status_code == status, answer.text
    if status == 200:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert CANARY not in answer.text
    assert "7.125" not in answer.text
    assert "/lake" not in answer.text
    assert len(answer.text) < 700


def test_texts_can_be_withheld(ask, table):
    settings = {"tables": (str(table.location),), "with_texts": False}
    for method, path, content in [
        ("POST", "/search", {"json": {"query": "oven", "mode": "hybrid"}}),
        ("GET", "/documents/d/1", {}),
        ("GET", "/similar/d/1", {}),
    ]:
        answer = ask(settings, method, path, **content)
        assert answer.status_code == 200
        assert "number" not in answer.text.replace('"n"', "")
    for method, path, content in [
        ("GET", "/facets", {"params": {"column": "text"}}),
        ("GET", "/facets", {"params": {"column": "n", "where": "text=oven"}}),
        ("GET", "/search", {"params": {"query": "a", "where": '{"text": {"starts_with": "r"}}'}}),
        ("GET", "/similar/d/1", {"params": {"where": "text is null"}}),
        (
            "POST",
            "/search",
            {"json": {"query": "a", "where": {"or": [{"n": 1}, {"not": {"text": {"contains": "r"}}}]}}},
        ),
        ("POST", "/search", {"json": {"query": "a", "group_by": "text"}}),
        ("POST", "/search/batch", {"json": {"queries": ["a"], "where": [{"text": "r"}]}}),
    ]:
        answer = ask(settings, method, path, **content)
        assert answer.status_code == 422
        assert "withheld" in answer.json()["detail"]


def test_a_table_that_is_made_anew_or_dropped_under_the_service(ask, make_table, tmp_path):
    import shutil

    uri = str(tmp_path / "lake" / "t")
    made = make_table(uri)
    app = create_app(ServiceSettings(tables=(uri,)))

    def found():
        answer = ask(None, "POST", "/search", app=app, json={"query": "rocket", "k": 50})
        return answer.status_code, len(answer.json().get("hits", []))

    assert found() == (200, 30)
    made.delete(["d/0"])
    assert found() == (200, 29)
    shutil.rmtree(f"{uri}.lance")
    assert found() == (404, 0)
    VectorTable.create(uri, spec=made.spec, dim=8).add(["x"], np.ones((1, 8)))
    answer = ask(None, "POST", "/search", app=app, json={"query": [1.0] * 8})
    assert [hit["id"] for hit in answer.json()["hits"]] == ["x"]


def test_several_tables_share_a_replica_and_are_named(ask, make_table, table, tmp_path):
    other = make_table(str(tmp_path / "lake" / "other"), ["bread", "orbit"])
    settings = {"tables": (str(table.location), str(other.location))}
    assert ask(settings, "POST", "/search", json={"query": "a"}).status_code == 422
    app = create_app(ServiceSettings(**settings))
    for name in ("docs", "other"):
        answer = ask(None, "POST", "/search", app=app, json={"query": "orbit", "table": name, "k": 1})
        assert answer.json()["table"] == name
    tables = app._app.state.service.tables
    encoders = [tables.get(name).table.encoder for name in ("docs", "other")]
    assert encoders[0]._replica is encoders[1]._replica
    with pytest.raises(UsageError, match="two tables are called 'docs'"):
        create_app(ServiceSettings(tables=(str(table.location), str(table.location))))
