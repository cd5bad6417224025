"""What people see, in a real browser that reaches no network."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest

from pipeline.topics.views import map_page
from pipeline.topics.views.labels import Region

EVIL = "</script><img src=x onerror=alert(1)><svg onload=alert(2)>"
MAP_AREA = np.s_[:, 360:1320]


@pytest.fixture(scope="session")
def page(drawn, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "map.html"
    path.write_text(map_page(drawn), encoding="utf-8")
    return path


def coloured(picture):
    """How many pixels are neither paper nor ink nor grey."""
    values = picture[MAP_AREA].astype(int)
    return int((values.max(axis=2) - values.min(axis=2) > 60).sum())


def text_of(browser, selector):
    return browser.run(f"document.querySelector({selector!r})?.textContent ?? ''")


def is_quiet(browser, path):
    """The page asked for nothing but itself, and nothing went wrong or popped up."""
    return set(browser.requests) <= {path.as_uri(), "about:blank"} and not browser.errors and not browser.dialogs


@pytest.mark.parametrize(("size", "dark"), [((1400, 900), False), ((1400, 900), True), ((390, 844), False)])
def test_points_and_labels_are_drawn_without_a_network(browser, page, drawn, size, dark):
    browser.open(page, width=size[0], height=size[1], dark=dark)
    browser.settle()
    picture = browser.picture()
    if size[0] > 1000:
        assert coloured(picture) > 2000
    assert (picture[-5, 5].mean() < 60) == dark
    shown = browser.run("[...document.querySelectorAll('#labels .topic.on')].map((label) => label.textContent)")
    assert shown
    assert set(shown) <= {topic.label for topic in drawn.topics}
    assert not browser.run("document.documentElement.scrollWidth > innerWidth")
    assert is_quiet(browser, page)


def test_the_panel_says_what_is_shown(browser, page, drawn):
    browser.open(page)
    assert text_of(browser, "#title") == "docs"
    assert text_of(browser, "#facts").startswith(f"{len(drawn.topics)} topics · {drawn.documents} documents")
    names = browser.run("[...document.querySelectorAll('#list .name')].map((name) => name.textContent)")
    assert names == [topic.label for topic in drawn.topics]


def test_a_search_finds_texts_and_ids_and_dims_the_rest(browser, page, drawn):
    browser.open(page)
    browser.settle()
    before = coloured(browser.picture())
    browser.type("#query", "ORBIT moon")
    expected = sum("orbit" in text and "moon" in text for text in drawn.texts.to_pylist())
    assert 0 < expected < len(drawn.ids)
    assert text_of(browser, "#count") == f"{expected} of {len(drawn.ids)} documents match"
    assert browser.run("document.querySelectorAll('#list .hit').length") == min(expected, 100)
    assert {"orbit", "moon"} <= set(
        browser.run("[...document.querySelectorAll('mark')].map((mark) => mark.textContent)")
    )
    assert coloured(browser.picture()) < before / 2
    browser.press("Escape")
    assert text_of(browser, "#count") == ""
    browser.type("#query", "faith-17")
    assert re.match(r"[12] of", text_of(browser, "#count"))


def test_an_address_with_a_search_opens_on_it(browser, page, drawn):
    browser.open(page, fragment="#q=prayer")
    expected = sum("prayer" in text for text in drawn.texts.to_pylist())
    assert text_of(browser, "#count").startswith(f"{expected} of")
    browser.open(page, fragment=f"#topic={drawn.topics[1].topic}")
    assert text_of(browser, "#list h2") == drawn.topics[1].label


def test_a_topic_opens_with_its_words_and_documents(browser, page, drawn):
    browser.open(page)
    browser.run("document.querySelectorAll('#list .entry')[0].click()")
    browser.settle()
    assert text_of(browser, "#list h2") == drawn.topics[0].label
    words = browser.run("[...document.querySelectorAll('#list .words button')].map((word) => word.textContent)")
    assert words == [word for word, _ in drawn.topics[0].words[:8]]
    assert browser.run("[...document.querySelectorAll('#list .hit .id')].every((id) => id.textContent.includes('-'))")
    browser.run("document.querySelector('#list .back').click()")
    assert browser.run("document.querySelectorAll('#list .entry').length") == len(drawn.topics)


def test_many_topics_are_listed_by_region(browser, drawn, tmp_path):
    regions = (Region("small", (4, 3), 0.2, 0.2), Region(EVIL, (0, 1, 2), 0.7, 0.7))
    path = tmp_path / "regions.html"
    path.write_text(map_page(dataclasses.replace(drawn, regions=regions)), encoding="utf-8")
    browser.open(path)
    names = browser.run("[...document.querySelectorAll('#list summary .name')].map((name) => name.textContent)")
    assert names == [EVIL, "small"], "the largest first"
    assert browser.run("[...document.querySelectorAll('#list .entry')].every((entry) => !entry.checkVisibility())")
    browser.run("document.querySelector('#list summary').click()")
    shown = browser.run(
        "[...document.querySelectorAll('#list .entry')].filter((entry) => entry.checkVisibility())"
        ".map((entry) => entry.querySelector('.name').textContent)"
    )
    assert shown == [topic.label for topic in drawn.topics[:3]]
    assert is_quiet(browser, path)


def test_the_pointer_shows_a_document(browser, page, drawn):
    browser.open(page)
    x, y = browser.run("map.onScreen(3).map(Math.round)")
    browser.mouse("Moved", x, y)
    browser.settle()
    assert text_of(browser, "#tip .id") in drawn.ids.to_pylist()
    assert text_of(browser, "#tip .text") in drawn.texts.to_pylist()
    browser.press("Escape")
    assert browser.run("document.querySelector('#tip').hidden")


def test_wheel_keys_and_drag_move_the_map(browser, page):
    browser.open(page)
    start = browser.run("({ ...map.view })")
    browser.mouse("Wheel", 900, 500, deltaX=0, deltaY=-240)
    browser.settle()
    assert browser.run("map.view.zoom") > start["zoom"]
    browser.run("document.querySelector('#canvas').focus()")
    browser.press("-")
    browser.press("ArrowRight")
    assert browser.run("map.view.x") > start["x"]
    browser.press("0")
    assert browser.run("({ ...map.view })") == start
    browser.mouse("Pressed", 700, 200, button="left")
    browser.mouse("Moved", 800, 260, button="left", buttons=1)
    browser.mouse("Released", 800, 260, button="left")
    browser.settle()
    moved = browser.run("({ ...map.view })")
    assert (moved["x"] < start["x"], moved["y"] < start["y"]) == (True, True)


def test_from_near_the_documents_speak(browser, page, drawn):
    browser.open(page)
    x, y = browser.run("map.onScreen(3).map(Math.round)")
    for _ in range(9):
        browser.mouse("Wheel", x, y, deltaX=0, deltaY=-240)
    browser.settle()
    shown = browser.run("[...document.querySelectorAll('#labels .document.on')].map((label) => label.textContent)")
    assert shown
    assert all(any(text.startswith(label.rstrip("…")) for text in drawn.texts.to_pylist()) for label in shown)


def test_whatever_documents_and_labels_hold_is_shown_as_text(browser, drawn, tmp_path):
    evil = dataclasses.replace(
        drawn,
        title=EVIL,
        ids=pa.array([f"{EVIL}{row}" for row in range(len(drawn.ids))]),
        texts=pa.array([f"{EVIL} orbit <!-- <script>alert(3)</script>"] * len(drawn.ids)),
        topics=tuple(dataclasses.replace(topic, label=EVIL, words=((EVIL, 1.0),)) for topic in drawn.topics),
        regions=(),
    )
    path = tmp_path / "evil.html"
    path.write_text(map_page(evil), encoding="utf-8")
    browser.open(path, fragment="#q=<img src=x onerror=alert(4)>")
    browser.open(path)
    browser.type("#query", "orbit")
    browser.run("document.querySelectorAll('#list .hit')[0].click()")
    browser.settle()
    assert EVIL in text_of(browser, "#tip .text")
    browser.run("document.querySelectorAll('#list .entry')[0].click()")
    browser.settle()
    assert text_of(browser, "#title") == EVIL
    assert browser.run("document.querySelectorAll('img, svg, [onerror]').length") == 0
    assert browser.run("document.querySelectorAll('script:not([type])').length") == 1
    assert is_quiet(browser, path)


def test_the_policy_stops_what_would_leave_the_page(browser, page):
    browser.open(page)
    reached = browser.run("fetch('http://127.0.0.1:9/').then(() => 'reached', (error) => error.name)")
    assert reached == "TypeError"
    assert any("Content Security Policy" in str(error) for error in browser.errors)
    browser.errors.clear()
