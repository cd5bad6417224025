"""Topics, filters and several tables on the page, in a real browser, with a real topic model."""

from __future__ import annotations

import csv
import io
import json
from urllib.parse import parse_qs, urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.topics import load_topics
from pipeline.topics.views import topics_by, topics_over


@pytest.fixture(scope="module")
def address(topical, table, serve):
    with serve(create_app(ServiceSettings(tables=(str(topical.location), str(table.location))))) as address:
        yield address


@pytest.fixture
def opened(browser, address):
    """Open the page at its first table: ``opened("?topic=1", width=360)``."""

    def opened(asked="", **window):
        browser.visit(address + asked, **window)
        is_ready(browser)
        return browser

    yield opened
    assert all(url.startswith((address, "about:", "data:", "blob:")) for url in browser.requests), browser.requests
    assert not browser.errors


@pytest.fixture(scope="module")
def views(topical):
    """Topic → its view, the largest first."""
    return {view.topic: view for view in load_topics(topical).overview(examples=0)}


def is_ready(browser):
    browser.wait("document.documentElement?.dataset.ready")


def all_of(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")


def asked(browser):
    """What the address says beside the table."""
    found = parse_qs(urlsplit(browser.run("location.href")).query)
    return {name: values for name, values in found.items() if name != "table"}


def rows_of(browser):
    cells = "[...document.querySelectorAll('#topic tbody tr')].map((r) => [...r.children].map((c) => c.textContent))"
    return [[cell.replace("\xa0", " ") for cell in row] for row in browser.run(cells)]


def choose(browser, selector, text):
    """Choose an option of a list as people do: by typing its first letters."""
    browser.run(f"document.querySelector({json.dumps(selector)}).focus()")
    for letter in text:
        browser.press(letter)
    browser.press("Tab")
    is_ready(browser)


def test_topics_are_browsed_down_to_a_document_and_back(opened, views):
    browser = opened("?q=oven")
    assert all_of(browser, "#topic-list button") == [view.label for view in views.values()]
    largest = next(iter(views.values()))
    browser.click_on("#topic-list button")
    is_ready(browser)
    assert asked(browser)["topic"] == [str(largest.topic)]
    assert all_of(browser, "#topic-name") == [largest.label]
    assert browser.run("document.activeElement.id") == "topic-name"
    assert all_of(browser, "#topic .words li > span:first-child")[:3] == [word for word, _ in largest.words[:3]]
    browser.click_on("#topic .examples button")
    browser.wait("document.querySelector('#document').open")
    is_ready(browser)
    browser.press("Escape")
    is_ready(browser)
    browser.click_on("#topic-close")
    is_ready(browser)
    assert browser.run("document.querySelector('#topic').hidden")
    assert browser.run("document.activeElement.textContent") == largest.label
    assert asked(browser) == {"q": ["oven"]}


def test_a_topic_tells_its_size_in_each_version_and_what_happened(opened, topical, views):
    merged = next(iter(views.values()))  # of two subjects, so it is the largest
    versions = load_topics(topical, 1), load_topics(topical, 2)
    sizes = [topics.show(merged.topic, 0).size for topics in versions]
    assert sizes[0] < sizes[1] == merged.size
    browser = opened(f"?topic={merged.topic}")
    told = all_of(browser, "#topic .history li")
    assert [line.split(" · ")[0] for line in told] == [
        f"Version {version}: {size} documents" for version, size in enumerate([*sizes, merged.size], 1)
    ]
    gone = (set(versions[0].topics().column("topic").to_pylist()) - set(views)).pop()
    assert told[0].endswith("fitted · born")
    assert told[1].endswith(f"topics merged · topic {gone} merged into it")
    label = browser.run("document.querySelector('#topic .chart').ariaLabel")
    assert label.endswith(f"version 1: {sizes[0]}, version 2: {sizes[1]}, version 3: {merged.size}")
    assert browser.run("document.querySelectorAll('#topic .chart rect').length") == 3


def test_topics_over_time_are_those_of_the_library_for_all_and_for_one(opened, topical, views):
    table = topics_over(load_topics(topical), "year")
    browser = opened()
    choose(browser, "#view", "over y")
    assert asked(browser) == {"over": ["year"]}
    shown = rows_of(browser)
    assert [row[0] for row in shown] == ["All", *(view.label for view in views.values())]
    some = list(views)[2]
    browser.run(f"document.querySelector('#topic-list [data-topic=\"{some}\"]').focus()")
    browser.press("Enter")
    is_ready(browser)
    assert asked(browser) == {"topic": [str(some)], "over": ["year"]}
    own = table.filter(pc.field("topic") == some)
    expected = [[str(row["start"]), str(row["count"]), f"{100 * row['share']:.1f} %"] for row in own.to_pylist()]
    assert rows_of(browser) == expected
    assert rows_of(opened(f"?topic={some}&over=year")) == expected


def test_topics_by_a_column_are_compared_with_the_whole(opened, topical, views):
    table = topics_by(load_topics(topical), "subject")
    browser = opened("?by=subject")
    food = next(topic for topic, view in views.items() if "by hand" in view.label)
    shown = {row[0]: row[1:] for row in rows_of(browser)}
    assert set(shown) == {"space", "cars", "food", "garden", "music"}
    row = table.filter((pc.field("value") == "food") & (pc.field("topic") == food)).to_pylist()[0]
    assert shown["food"][0] == "30"
    assert shown["food"][1].startswith(f"{views[food].label} \N{MULTIPLICATION SIGN} {row['lift']:.1f}")
    browser.click_on("#topic tbody tr:nth-child(2) .leading button")
    is_ready(browser)
    assert asked(browser)["by"] == ["subject"]
    found = {row[0]: row[1:] for row in rows_of(opened(f"?topic={food}&by=subject"))}
    assert found["food"] == [
        str(row["count"]),
        f"{100 * row['share']:.1f} %",
        f"\N{MULTIPLICATION SIGN} {row['lift']:.1f}",
    ]


def test_what_a_table_does_not_have_is_not_asked_for_and_what_fails_is_told(opened):
    browser = opened("?table=docs&q=oven")
    assert browser.run("document.querySelector('#topics').hidden")
    assert not [url for url in browser.requests if "/topics" in url and "/web/" not in url]
    browser = opened("?topic=9999")
    assert "no topic" in all_of(browser, "#topic .error")[0]
    browser.errors.clear()


def test_the_other_table_is_chosen_and_nothing_of_the_first_is_left(opened):
    browser = opened("?q=oven&topic=0&over=year&where=%7B%22subject%22%3A%5B%22food%22%5D%7D")
    choose(browser, "#table", "d")
    assert asked(browser) == {"q": ["oven"]}
    assert all_of(browser, "h1") == ["Search docs"]
    assert all_of(browser, "legend") == ["theme", "n"]
    assert browser.run("document.querySelector('#topic').hidden && document.querySelector('#topics').hidden")
    assert all(name.startswith("d/") for name in all_of(browser, "#hits .open"))
    browser.run("history.back()")
    browser.wait("document.querySelector('h1').textContent === 'Search topical'")
    is_ready(browser)
    assert len(all_of(browser, "#topic-list li")) > 3
    assert browser.run("document.querySelector('[value=food]').checked")


def test_instants_dates_lists_and_many_values_filter(opened, topical):
    browser = opened("?q=oven&k=100")
    browser.run("document.querySelector('[aria-label=\"seen from\"]').focus()")
    for key in ("0", "7", "0", "1", "2", "0", "2", "4", "Tab", "0", "6", "3", "0", "A"):
        browser.press(key)
    browser.wait("location.search.includes('where')")
    is_ready(browser)
    (where,) = asked(browser)["where"]
    assert json.loads(where) == {"seen": {"gte": instant(browser, "2024-07-01T06:30")}}
    expected = topical.search("oven", 100, where=json.loads(where)).column("id").to_pylist()
    assert all_of(browser, "#hits .open") == expected
    browser.click_on("input[value=odd]")
    is_ready(browser)
    browser.type("[aria-label=author]", "author 7")
    browser.press("Enter")
    is_ready(browser)
    where = json.loads(asked(browser)["where"][0])
    assert {name: where[name] for name in ("tags", "author")} == {"tags": ["odd"], "author": ["author 7"]}
    expected = topical.search("oven", 100, where=where).column("id").to_pylist()
    assert 0 < len(expected) < 10
    assert all_of(browser, "#hits .open") == expected
    assert browser.run("document.querySelector('[aria-label=\"seen from\"]').value.slice(0, 16)") == "2024-07-01T06:30"
    browser.click_on("#filter-clear")
    is_ready(browser)
    assert asked(browser) == {"q": ["oven"], "k": ["100"]}
    assert browser.run("document.querySelector('[aria-label=author]').value") == ""
    browser.run("document.querySelector('[aria-label=\"day to\"]').focus()")
    for digit in "01312024":
        browser.press(digit)
    browser.wait("location.search.includes('2024-01-31')")
    is_ready(browser)
    expected = topical.search("oven", 100, where={"day": {"lte": "2024-01-31"}}).column("id").to_pylist()
    assert all_of(browser, "#hits .open") == expected


def instant(browser, local):
    return browser.run(f"new Date('{local}').toISOString()")


def test_results_are_kept_as_csv_and_json(opened, topical):
    browser = opened("?q=oven&mode=hybrid&k=20")
    browser.run(
        "window.kept = []; URL.createObjectURL = (blob) => { kept.push(blob); return 'blob:'; };"
        "HTMLAnchorElement.prototype.click = function () { kept.at(-1).name = this.download; }"
    )
    browser.click_on("#csv")
    browser.click_on("#json")
    names, (as_csv, as_json) = browser.run(
        "Promise.all(kept.map((blob) => blob.text())).then((texts) => [kept.map((blob) => blob.name), texts])"
    )
    assert names == ["hits.csv", "hits.json"]
    hits = topical.search("oven", 20, mode="hybrid")
    rows = list(csv.DictReader(io.StringIO(as_csv)))
    assert [row["id"] for row in rows] == hits.column("id").to_pylist()
    assert [row["text"] for row in rows] == hits.column("text").to_pylist()
    assert [json.loads(row["tags"]) for row in rows] == hits.column("tags").to_pylist()
    assert [hit["id"] for hit in json.loads(as_json)] == hits.column("id").to_pylist()
    assert json.loads(as_json)[0]["_score"] == pytest.approx(hits.column("_score")[0].as_py(), abs=1e-5)


def test_without_texts_topics_are_still_browsed(browser, serve, topical):
    settings = ServiceSettings(tables=(str(topical.location),), with_texts=False)
    with serve(create_app(settings)) as address:
        browser.visit(address + "?q=oven&topic=0&by=subject")
        is_ready(browser)
        assert len(all_of(browser, "#topic .examples .open")) == 3
        assert all_of(browser, "#topic .passage, #hits .passage") == []
        browser.click_on("#topic .examples .open")
        browser.wait("document.querySelector('#document').open")
        is_ready(browser)
        assert all_of(browser, "#document-text") == ["The text is not served."]
        assert not browser.errors


def test_results_of_one_topic_only(opened, topical, views):
    browser = opened("?topic=0")
    assert not browser.run("document.querySelector('#within').checkVisibility()")
    chosen = next(topic for topic, view in views.items() if "oven" not in dict(view.words))
    browser = opened(f"?q=oven&topic={chosen}")
    browser.click_on("#within")
    is_ready(browser)
    found = load_topics(topical).topics_of(pa.array(all_of(browser, "#hits .open")))
    assert found.to_pylist() == [chosen] * 10
    assert asked(browser)["within"] == ["yes"]
    browser.click_on("#topic-close")
    is_ready(browser)
    assert asked(browser) == {"q": ["oven"]}
    assert all_of(browser, "#hits .open") == topical.search("oven").column("id").to_pylist()
