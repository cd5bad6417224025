"""What the routes of topics answer, against what the library itself says; what is kept of it, and until when."""

from __future__ import annotations

import asyncio
import threading

import pyarrow.compute as pc
import pytest

from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.service.topics import KeptAnswers
from pipeline.table import VectorTable
from pipeline.topics import label_topic, load_topics
from pipeline.topics.views import topics_by, topics_over


@pytest.fixture(scope="module")
def served(topical, ask):
    app = create_app(ServiceSettings(tables=(str(topical.location),)))
    return lambda path, **params: ask(None, "GET", path, app=app, params=params)


def test_counts_over_and_by_a_column_are_those_of_the_library(served, topical):
    over = served("/topics/over", column="seen", bins=5).json()
    table = topics_over(load_topics(topical), "seen", 5)
    assert len(over["starts"]) == len(table.column("start").unique())
    assert sum(over["documents"]) == 150
    for topic in over["topics"]:
        assert topic["counts"] == table.filter(pc.field("topic") == topic["topic"]).column("count").to_pylist()
    by = served("/topics/by", column="author", most=3).json()
    table = topics_by(load_topics(topical), "author")
    assert [len(by["values"]), by["left_out"], by["counted"]] == [3, 22, "documents"]
    for value in by["values"]:
        own = table.filter(pc.field("value") == value["value"])
        assert value["documents"] == own.column("documents")[0].as_py()
        assert value["topics"] == own.select(["topic", "count", "share", "lift"]).to_pylist()


def test_a_search_is_limited_to_a_topic(served, topical, monkeypatch):
    topics = load_topics(topical)
    rows = topics.assignments(["id", "topic"])
    chosen = topics.overview(examples=0)[1].topic
    of_topic = set(rows.filter(pc.field("topic") == chosen).column("id").to_pylist())
    hits = served("/search", query="bread", topic=chosen, k=200).json()["hits"]
    assert {hit["id"] for hit in hits} == of_topic
    some = served("/similar/food-70", topic=chosen, k=200, where=["tags=odd"]).json()["hits"]
    assert {hit["id"] for hit in some} <= of_topic - {"food-70"}
    assert {"odd"} <= set.intersection(*(set(hit["tags"]) for hit in some))
    missing = served("/search", query="bread", topic=999)
    assert (missing.status_code, "has no topic" in missing.json()["detail"]) == (404, True)
    monkeypatch.setattr("pipeline.service.topics.MAX_MEMBERS", 10)
    other = topics.overview(examples=0)[0].topic
    assert "limited to a topic of up to 10 rows" in served("/search", query="bread", topic=other).json()["detail"]


def test_tables_say_what_can_be_asked(served, ask, table):
    (about,) = served("/tables").json()["tables"]
    kept = {column.pop("name"): column for column in about["kept"]}
    assert kept["seen"] == {"kind": "instant", "is_list": False, "over": True, "by": False}
    assert kept["tags"] == {"kind": "text", "is_list": True, "over": False, "by": False}
    assert kept["author"] == {"kind": "text", "is_list": False, "over": False, "by": True}
    assert about["topics"]["version"] == 3
    (about,) = ask({"tables": (str(table.location),)}, "GET", "/tables").json()["tables"]
    assert about["topics"] is None
    for path, params in [("/topics/over", {"column": "n"}), ("/topics/by", {"column": "theme"}), ("/topics/0", {})]:
        assert ask({"tables": (str(table.location),)}, "GET", path, params=params).status_code == 404


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/topics/over", {}),
        ("/topics/over", {"column": "canary7f3a"}),
        ("/topics/over", {"column": "vector"}),
        ("/topics/over", {"column": "year", "bins": 1}),
        ("/topics/over", {"column": "year", "bins": 10**9}),
        ("/topics/by", {"column": "vector"}),
        ("/topics/by", {"column": "subject", "most": 10**9}),
        ("/topics", {"words": -1}),
    ],
)
def test_what_cannot_be_asked_is_refused_and_not_repeated(served, path, params):
    answer = served(path, **params)
    assert answer.status_code == 422
    assert "canary7f3a" not in answer.text


def test_texts_that_are_withheld_are_not_told_by_topics(ask, topical):
    settings = {"tables": (str(topical.location),), "with_texts": False}
    for path in ("/topics/over", "/topics/by"):
        answer = ask(settings, "GET", path, params={"column": "text"})
        assert answer.status_code == 422
        assert "withheld" in answer.json()["detail"]
    examples = ask(settings, "GET", "/topics/0").json()["examples"]
    assert [set(example) for example in examples] == [{"id"}] * 5


def test_answers_change_with_the_table_and_with_its_topics(ask, topical, tmp_path):
    import shutil

    shutil.copytree(topical.location.directory, tmp_path / "lake")
    table = VectorTable.open(str(tmp_path / "lake" / "topical"))
    app = create_app(ServiceSettings(tables=(str(table.location),)))

    def counted():
        answer = ask(None, "GET", "/topics/by", app=app, params={"column": "subject"}).json()
        return {value["value"]: value["documents"] for value in answer["values"]}

    assert counted()["space"] == 30
    table.delete(["space-0"])
    assert counted()["space"] == 29
    label_topic(table, 0, "new name")
    assert ask(None, "GET", "/topics/0", app=app).json()["label"] == "new name"


def test_an_answer_is_computed_once_however_many_ask_and_a_failure_is_not_kept():
    calls, slow = [], threading.Event()

    def compute():
        calls.append(1)
        slow.wait(10)
        if len(calls) == 1:
            raise ValueError("the first time")
        return len(calls)

    async def ask():
        kept = KeptAnswers()
        waiting = [asyncio.ensure_future(kept.get("key", compute)) for _ in range(5)]
        await asyncio.sleep(0.05)
        waiting[0].cancel()  # one who leaves takes nothing from the others
        slow.set()
        first = await asyncio.gather(*waiting, return_exceptions=True)
        again = await asyncio.gather(*(kept.get("key", compute) for _ in range(5)))
        for other in range(100):
            await kept.get(other, calls.copy)
        last = await kept.get("key", compute)
        kept.close()
        return first, again, last

    first, again, last = asyncio.run(ask())
    assert isinstance(first[0], asyncio.CancelledError)
    assert [str(error) for error in first[1:]] == ["the first time"] * 4
    assert again == [2] * 5
    assert last == 3  # so many are not kept


def test_clients_have_them(serve, topical):
    from pipeline.service import AsyncClient, Client

    with serve(create_app(ServiceSettings(tables=(str(topical.location),)))) as address:
        with Client(address) as client:
            over, by = client.topics_over("year", bins=4), client.topics_by("subject", most=2)
            topic = client.topic(0, examples=1)

        async def ask():
            async with AsyncClient(address) as client:
                return [
                    await client.topics_over("year", 4),
                    await client.topics_by("subject", 2),
                    await client.topic(0, 1),
                ]

        assert asyncio.run(ask()) == [over, by, topic]
    assert [len(over["starts"]) <= 4, len(by["values"]), len(topic["examples"])] == [True, 2, 1]
