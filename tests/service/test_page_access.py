"""Whether everybody can use the page: axe-core's rules on every view, by width and colour scheme, and by keys alone."""

from __future__ import annotations

import json

import pytest

from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings

VIEWS = {
    "empty": "",
    "results": "?q=oven&mode=hybrid&like=food-70&unlike=cars-40&where=%7B%22tags%22%3A%5B%22odd%22%5D%7D",
    "document": "?q=oven&doc=food-70",
    "topic": "?q=oven&topic=0",
    "topic over": "?topic=0&over=seen",
    "topic by": "?topic=0&by=author",
    "all over": "?over=year",
    "all by": "?by=subject",
    "routes": "docs",
    "error": "?q=oven&page=1000&topic=999",
}
WIDTHS = (1280, 768, 360)


@pytest.fixture(scope="module")
def axe(load):
    script = load("topics/views/browser.py").AXE
    if not script.exists():
        pytest.skip("no axe-core: npm ci --prefix tests, as make test does")
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(topical, table, serve):
    with serve(create_app(ServiceSettings(tables=(str(topical.location), str(table.location))))) as address:
        yield address


def show(browser, address, **window):
    browser.visit(address, **window)
    browser.wait("document.documentElement?.dataset.ready")
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


def violations(browser):
    found = json.loads(browser.run("axe.run().then((result) => JSON.stringify(result))"))
    assert len(found["passes"]) > 15
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_and_nothing_lies_beyond_the_window(browser, address, axe, dark):
    found = {}
    for name, asked in VIEWS.items():
        show(browser, address + asked, dark=dark)
        browser.run(axe)
        for width in WIDTHS:
            browser.resize(width)
            found[name, width] = violations(browser)
            assert browser.run("document.documentElement.scrollWidth <= innerWidth"), (name, width)
    assert {view: broken for view, broken in found.items() if broken} == {}
    assert len(found) == len(VIEWS) * len(WIDTHS)


def test_axe_sees_what_is_wrong(browser, address, axe):
    show(browser, address)
    browser.run(axe)
    browser.run(
        "['aria-label', 'placeholder'].forEach((name) => document.querySelector('#query').removeAttribute(name))"
    )
    assert [rule for rule, _ in violations(browser)] == ["label"]


@pytest.mark.parametrize("width", [360, 1280])
def test_topics_views_and_filters_are_reached_by_tab_in_the_order_of_the_page(browser, address, width):
    show(browser, address + "?q=oven&topic=0&by=subject", width=width)
    browser.run("document.querySelector('#table').focus()")
    seen = []
    for _ in range(140):
        seen.append(browser.run("document.activeElement.id || document.activeElement.className || 'entry'"))
        if "json" in seen:
            break
        browser.press("Tab")
    order = ["table", "query", "go", "mode", "k", "alpha", "view", "topic-close", "csv", "json"]
    assert [name for name in seen if name in order] == order
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
