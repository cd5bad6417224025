"""The map of topics: what the service sends, and the map on the page, with clicks and keys in a real browser."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.service import maps
from pipeline.service.app import create_app
from pipeline.service.client import _points
from pipeline.service.maps import PackedMap
from pipeline.service.settings import ServiceSettings
from pipeline.table import VectorTable
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.views import draw_map

THEMES = {
    "space": "orbit rocket moon shuttle launch satellite nasa planet lunar telescope",
    "cars": "engine car brake tyre gear wheel oil driver road clutch",
    "food": "bread oven flour yeast butter kitchen recipe salt dough cake",
}
EACH = 40


@pytest.fixture(scope="module")
def mapped(encoder, tmp_path_factory):
    """A table with topics, whose map has a layout that is kept."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(words.split(), 8)) for words in THEMES.values() for _ in range(EACH)]
    uri = str(tmp_path_factory.mktemp("mapped") / "docs")
    table = VectorTable.create(
        uri, spec=encoder.spec, meaning=encoder.meaning, calibration=encoder.calibration, halves=encoder.halves
    )
    table.add([f"{theme}/{n}" for theme in THEMES for n in range(EACH)], encoder.encode(texts), texts=texts)
    fit_topics(uri, recipe="pca")
    draw_map(load_topics(uri))
    return table


@pytest.fixture
def asked(mapped, ask):
    app = create_app(ServiceSettings(tables=(str(mapped.location),)))
    return lambda **content: ask(None, "GET", "/map", app=app, **content)


def content_of(directory):
    return {path: path.stat().st_mtime_ns for path in Path(directory).rglob("*") if path.is_file()}


def test_the_map_is_that_of_the_topics_and_nothing_is_written(mapped, asked):
    drawn = draw_map(load_topics(mapped))
    before = content_of(mapped.location.directory)
    answer = asked()
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
    sent = PackedMap.of(answer.content)
    assert sent.head["ids"] == drawn.ids.to_pylist()
    np.testing.assert_allclose(sent.xy / 65_535, drawn.points.T, atol=1e-5)
    np.testing.assert_array_equal(sent.topic, drawn.topic)
    assert [topic["label"] for topic in sent.head["topics"]] == [topic.label for topic in drawn.topics]
    assert not any(word in answer.text for word in ("texts", "orbit rocket"))
    assert content_of(mapped.location.directory) == before


def test_five_lines_of_the_documentation_read_it(asked):
    body = asked(params={"points": 15}).content
    size = int.from_bytes(body[:4], "little")
    head = json.loads(body[4 : 4 + size])
    n = head["shown"]
    x, y = np.frombuffer(body, "<u2", 2 * n, 4 + size).reshape(2, n) / 65_535
    topic = np.frombuffer(body, "<i2", n, 4 + size + 4 * n)
    assert 1 <= n <= 15
    assert len(head["ids"]) == len(x) == len(y) == len(topic) == n
    assert topic.max() < len(head["topics"])


def test_a_client_gets_a_table_of_points(mapped, asked):
    table = _points(asked())
    assert table.schema.names == ["id", "x", "y", "topic"]
    topics = load_topics(mapped).topics_of(table.column("id").combine_chunks())
    assert table.column("topic").combine_chunks().equals(topics)


def test_what_has_not_changed_is_not_sent_again(asked):
    first = asked()
    assert first.headers["cache-control"] == "private, no-cache"
    again = asked(headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    plain = asked(headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content


def test_documents_that_are_gone_are_on_no_map(mapped, tmp_path, ask):
    shutil.copytree(mapped.location.directory, tmp_path / "lake")
    copy = VectorTable.open(str(tmp_path / "lake" / "docs"))
    app = create_app(ServiceSettings(tables=(str(copy.location),)))
    whole = ask(None, "GET", "/map", app=app)
    copy.delete(["food/3", "space/7"])
    rest = ask(None, "GET", "/map", app=app)
    assert rest.headers["etag"] != whole.headers["etag"]
    before, after = PackedMap.of(whole.content), PackedMap.of(rest.content)
    assert set(before.head["ids"]) - set(after.head["ids"]) == {"food/3", "space/7"}
    places = dict(zip(before.head["ids"], before.xy.T.tolist(), strict=True))
    assert [places[name] for name in after.head["ids"]] == after.xy.T.tolist()
    assert sum(topic["shown"] for topic in after.head["topics"]) == int((after.topic >= 0).sum())


def test_many_at_once_draw_once_and_the_service_answers_meanwhile(mapped, monkeypatch):
    import httpx2

    drawings = []
    in_process = maps._in_process

    def counted(asked):
        drawings.append(asked)
        return in_process(asked)

    monkeypatch.setattr(maps, "_in_process", counted)
    app = create_app(ServiceSettings(tables=(str(mapped.location),)))

    async def ask():
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            several = [asyncio.create_task(client.get("/map", params={"points": 15})) for _ in range(5)]
            alive = await client.get("/healthz")
            assert not any(task.done() for task in several)
            return alive, await asyncio.gather(*several)

    alive, answers = asyncio.run(ask())
    assert alive.status_code == 200
    assert [answer.status_code for answer in answers] == [200] * 5
    assert len(drawings) == 1


def test_a_map_that_takes_long_is_asked_for_again(mapped, ask, monkeypatch):
    monkeypatch.setattr(maps, "PATIENCE", 0.01)
    answer = ask({"tables": (str(mapped.location),)}, "GET", "/map", params={"points": 15})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["detail"] == "the map is being drawn"


def test_what_has_no_map_is_told(served, asked, mapped, ask, tmp_path):
    assert served("GET", "/map").status_code == 404
    assert "no topics yet" in served("GET", "/map").json()["detail"]
    assert asked(params={"points": 0}).status_code == 422
    assert asked(params={"points": 50_001}).status_code == 422
    shutil.copytree(mapped.location.directory, tmp_path / "lake")
    copy = VectorTable.open(str(tmp_path / "lake" / "docs"))
    copy.delete([f"{theme}/{n}" for theme in THEMES for n in range(EACH)])
    gone = ask({"tables": (str(copy.location),)}, "GET", "/map")
    assert gone.status_code == 404
    assert "none of the documents" in gone.json()["detail"]
    assert str(tmp_path) not in gone.text


def test_a_packed_map_is_itself_again():
    head = {"title": "é", "shown": 3, "topics": [{"topic": 4, "shown": 2}], "ids": ["a", "b", "c"]}
    drawn = PackedMap(head, np.array([[0, 1, 2], [3, 4, 65_535]], "<u2"), np.array([0, -1, 0], "<i2"))
    data = drawn.to_bytes()
    again = PackedMap.of(data)
    assert (int.from_bytes(data[:4], "little") + 4) % 8 == 0
    assert again.head == head
    np.testing.assert_array_equal(again.xy, drawn.xy)
    np.testing.assert_array_equal(again.topic, drawn.topic)
    less = again.only(np.array([True, True, False]))
    assert (less.head["ids"], less.head["shown"], less.head["topics"][0]["shown"]) == (["a", "b"], 2, 1)
    assert gzip.decompress(gzip.compress(less.to_bytes())) == less.to_bytes()
    assert pa.array(less.head["ids"]).to_pylist() == ["a", "b"]
