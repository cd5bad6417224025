"""The map of topics: what the service sends, and the map on the page, with clicks and keys in a real browser."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import httpx2
import numpy as np
import pytest

from pipeline.service import maps
from pipeline.service.app import create_app
from pipeline.service.client import _points
from pipeline.service.maps import PackedMap
from pipeline.service.settings import ServiceSettings
from pipeline.table import VectorTable
from pipeline.topics import load_topics
from pipeline.topics.views import draw_map


@pytest.fixture
def asked(topical, ask):
    app = create_app(ServiceSettings(tables=(str(topical.location),)))
    return lambda **content: ask(None, "GET", "/map", app=app, **content)


def content_of(directory):
    return {path: path.stat().st_mtime_ns for path in Path(directory).rglob("*") if path.is_file()}


def test_the_map_is_that_of_the_topics_and_nothing_is_written(topical, asked):
    drawn = draw_map(load_topics(topical))
    before = content_of(topical.location.directory)
    answer = asked()
    assert (answer.status_code, answer.headers["content-encoding"]) == (200, "gzip")
    sent = PackedMap.of(answer.content)
    assert sent.head["ids"] == drawn.ids.to_pylist()
    np.testing.assert_allclose(sent.xy / 65_535, drawn.points.T, atol=1e-5)
    np.testing.assert_array_equal(sent.topic, drawn.topic)
    assert [topic["label"] for topic in sent.head["topics"]] == [topic.label for topic in drawn.topics]
    assert "texts" not in sent.head
    assert content_of(topical.location.directory) == before


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


def test_a_client_gets_a_table_of_points(topical, asked):
    table = _points(asked())
    assert table.schema.names == ["id", "x", "y", "topic"]
    topics = load_topics(topical).topics_of(table.column("id").combine_chunks())
    assert table.column("topic").combine_chunks().equals(topics)


def test_what_has_not_changed_is_not_sent_again(asked):
    first = asked()
    assert first.headers["cache-control"] == "private, no-cache"
    again = asked(headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    plain = asked(headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == first.content


def test_documents_that_are_gone_are_on_no_map(topical, tmp_path, ask):
    shutil.copytree(topical.location.directory, tmp_path / "lake")
    copy = VectorTable.open(str(tmp_path / "lake" / "topical"))
    app = create_app(ServiceSettings(tables=(str(copy.location),)))
    whole = ask(None, "GET", "/map", app=app)
    copy.delete(["food-63", "space-7"])
    rest = ask(None, "GET", "/map", app=app)
    assert rest.headers["etag"] != whole.headers["etag"]
    before, after = PackedMap.of(whole.content), PackedMap.of(rest.content)
    assert set(before.head["ids"]) - set(after.head["ids"]) == {"food-63", "space-7"}
    places = dict(zip(before.head["ids"], before.xy.T.tolist(), strict=True))
    assert [places[name] for name in after.head["ids"]] == after.xy.T.tolist()
    assert sum(topic["shown"] for topic in after.head["topics"]) == int((after.topic >= 0).sum())


def test_many_at_once_draw_once_and_the_service_answers_meanwhile(topical, monkeypatch):
    drawings = []
    drawing = maps.Maps._draw

    def counted(self, asked):
        drawings.append(asked)
        return drawing(self, asked)

    monkeypatch.setattr(maps.Maps, "_draw", counted)
    app = create_app(ServiceSettings(tables=(str(topical.location),)))

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


def test_a_map_that_takes_long_is_asked_for_again(topical, ask, monkeypatch):
    monkeypatch.setattr(maps, "PATIENCE", 0.01)
    answer = ask({"tables": (str(topical.location),)}, "GET", "/map", params={"points": 15})
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "5")
    assert answer.json()["detail"] == "the map is being drawn"


def test_what_has_no_map_is_told(served, asked, topical, ask, tmp_path):
    assert served("GET", "/map").status_code == 404
    assert "no topics yet" in served("GET", "/map").json()["detail"]
    assert asked(params={"points": 0}).status_code == 422
    assert asked(params={"points": 50_001}).status_code == 422
    shutil.copytree(topical.location.directory, tmp_path / "lake")
    copy = VectorTable.open(str(tmp_path / "lake" / "topical"))
    copy.delete(copy.dataset().to_table(["id"]).column("id").to_pylist())
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


ROOM = "document.querySelector('#map-room').getBoundingClientRect()"


@pytest.fixture(scope="module")
def address(topical, serve):
    with serve(create_app(ServiceSettings(tables=(str(topical.location),)))) as address:
        yield address


@pytest.fixture
def opened(browser, address):
    """Open the page and wait for its map: ``opened("?q=oven", width=360)``."""

    def opened(asked="", **window):
        browser.visit(address + asked, **window)
        browser.wait("document.documentElement?.dataset.ready")
        browser.run("document.querySelector('#map').open = true")
        browser.wait("document.querySelector('[data-drawn]')")
        browser.settle()
        return browser

    yield opened
    assert all(url.startswith((address, "about:", "data:")) for url in browser.requests), browser.requests
    assert not browser.errors


@pytest.fixture
def sent(asked):
    return PackedMap.of(asked().content)


def text_of(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")


def places_of(browser, sent, padding=24):
    """Where each point is in the window while all of the map is shown, as the page computes it: id → (x, y)."""
    left, top, width, height = browser.run(f"(({{ x, y, width, height }}) => [x, y, width, height])({ROOM})")
    left, top, width, height = left + 1, top + 1, width - 2, height - 2  # a border
    points = np.array([sent.xy[0], 65_535 - sent.xy[1].astype(int)]).T / 65_535
    span = np.ptp(points, axis=0)
    if (width >= height) != (span[0] >= span[1]):
        points, span = points[:, ::-1], span[::-1]
    scale = min((width - 2 * padding) / span[0], (height - 2 * padding) / span[1])
    middle = points.min(axis=0) + span / 2
    window = np.array([left + width / 2, top + height / 2]) + (points - middle) * scale
    return dict(zip(sent.head["ids"], window.tolist(), strict=True))


def lonely(places):
    """The id of the point that is farthest from any other."""
    window = np.array(list(places.values()))
    apart = np.linalg.norm(window[:, None] - window[None], axis=2) + 1e9 * np.eye(len(window))
    return list(places)[apart.min(axis=1).argmax()]


@pytest.mark.parametrize("window", [{"width": 1280}, {"width": 1280, "dark": True}, {"width": 360}])
def test_hits_are_lit_up_and_counted(opened, window):
    browser = opened("?q=bread+oven", **window)
    assert text_of(browser, "#map-facts") == "10 of 10 results on the map"
    with_hits = browser.picture().astype(int)
    browser = opened("", **window)
    assert text_of(browser, "#map-facts") == "150 documents"
    x, y, width, height = browser.run(f"(({{ x, y, width, height }}) => [x, y, width, height].map(Math.round))({ROOM})")
    area = np.s_[y : y + min(height, 600), x : x + width]
    without = browser.picture().astype(int)
    ink = (
        (lambda picture: picture[area].min(axis=2) > 200)
        if window.get("dark")
        else (lambda picture: picture[area].max(axis=2) < 60)
    )
    assert ink(with_hits).sum() > ink(without).sum() + 50
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_the_pointer_shows_a_document_and_a_click_opens_it(opened, sent, topical):
    browser = opened("?q=rocket")
    places = places_of(browser, sent)
    name = lonely(places)
    x, y = places[name]
    browser.mouse("Moved", x, y)
    browser.wait("document.querySelector('#map-tip p')")
    topic = sent.head["topics"][sent.topic[sent.head["ids"].index(name)]]["label"]
    text = topical.document(name).column("text")[0].as_py()
    assert [text_of(browser, f"#map-tip {part}") for part in ("strong", "span", "p")] == [topic, name, text]
    browser.click(x, y)
    browser.wait("document.querySelector('#document').open")
    assert text_of(browser, "#document-name") == name
    assert f"doc={name}" in browser.run("location.search")


def test_wheel_keys_and_drag_move_it(opened):
    browser = opened()
    x, y, width, height = browser.run(f"(({{ x, y, width, height }}) => [x, y, width, height].map(Math.round))({ROOM})")
    area = np.s_[y : y + height, x : x + width]

    def moved(action):
        before = browser.picture()[area]
        action()
        browser.settle()
        return (browser.picture()[area] != before).any()

    start = browser.picture()[area]
    assert moved(lambda: browser.mouse("Wheel", x + width / 2, y + height / 2, deltaX=0, deltaY=-240))
    browser.run("document.querySelector('#map-room canvas').focus({ focusVisible: false })")
    for key in ("+", "-", "ArrowLeft", "ArrowUp"):
        assert moved(lambda key=key: browser.press(key)), key
    browser.press("0")
    browser.mouse("Pressed", x + 30, y + 30, button="left")
    assert moved(lambda: browser.mouse("Moved", x + 90, y + 60, button="left", buttons=1))
    browser.mouse("Released", x + 90, y + 60, button="left")
    assert moved(lambda: browser.run("document.querySelector('#map-tools button').click()"))
    browser.press("0")
    browser.run("document.activeElement.blur()")
    browser.mouse("Moved", 5, 5)
    browser.settle()
    assert np.abs(browser.picture()[area].astype(int) - start).mean() < 1


def test_a_topic_is_chosen_on_the_map_and_in_the_list(opened, sent):
    browser = opened()
    browser.click_on("#map-room .labels .topic.on")
    browser.wait("document.documentElement.dataset.ready && !document.querySelector('#topic').hidden")
    label = text_of(browser, "#topic-name")
    assert label in [topic["label"] for topic in sent.head["topics"]]
    browser.wait("document.querySelectorAll('#map-room .labels .topic.away').length")
    assert browser.run("document.querySelectorAll('#map-room .labels .topic:not(.away)').length") == 1
    browser.click_on("#topic-close")
    browser.wait("!document.querySelectorAll('#map-room .labels .topic.away').length")
    other = "#topic-list li:last-child button"
    name = text_of(browser, other)
    browser.click_on(other)
    browser.wait("document.querySelectorAll('#map-room .labels .topic.away').length")
    assert text_of(browser, "#map-room .labels .topic:not(.away)") == name


def test_it_has_a_name_and_is_loaded_when_it_is_seen(browser, opened, address):
    browser.visit(address + "?q=oven", width=360)
    browser.wait("document.documentElement?.dataset.ready")
    browser.settle()
    assert not [url for url in browser.requests if "/map?" in url or "canvas" in url]
    browser.click_on("#map summary")
    browser.wait("document.querySelector('[data-drawn]')")
    assert browser.run("document.querySelector('#map-room canvas').ariaLabel").startswith("Map of 150 documents")
    assert browser.run("[...document.querySelectorAll('#map button')].every((e) => e.ariaLabel || e.textContent)")


def test_where_texts_are_withheld_the_map_has_none(topical, serve, browser):
    with serve(create_app(ServiceSettings(tables=(str(topical.location),), with_texts=False))) as address:
        browser.visit(address)
        browser.wait("document.querySelector('[data-drawn]')")
        sent = PackedMap.of(httpx2.get(address + "map").content)
        x, y = (places := places_of(browser, sent))[name := lonely(places)]
        browser.mouse("Moved", x, y)
        browser.settle()
        browser.settle()
        browser.settle()
        assert text_of(browser, "#map-tip span") == name
        assert not browser.run("document.querySelectorAll('#map-tip p').length")
