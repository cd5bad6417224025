"""The page in a real browser, with clicks and keys, against a real server."""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeline.service import page
from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.tokens import new_token, token_hash


@pytest.fixture(scope="module")
def address(table, serve):
    with serve(create_app(ServiceSettings(tables=(str(table.location),)))) as address:
        yield address


@pytest.fixture
def opened(browser, address):
    """Open the page: ``opened("?q=oven", width=360)``."""

    def opened(asked="", **window):
        browser.visit(address + asked, **window)
        is_ready(browser)
        return browser

    yield opened
    assert all(url.startswith((address, "about:", "data:", "blob:")) for url in browser.requests), browser.requests
    assert not browser.errors


def is_ready(browser):
    browser.wait("document.documentElement?.dataset.ready")


def all_of(browser, selector):
    return browser.run(f"[...document.querySelectorAll({json.dumps(selector)})].map((e) => e.textContent)")


def ids(browser):
    return all_of(browser, "#hits .open")


def asked(browser):
    return parse_qs(urlsplit(browser.run("location.href")).query)


def test_a_search_shows_what_the_table_finds_with_both_cosines(opened, table):
    browser = opened()
    browser.type("#query", "rockets in orbit")
    browser.click_on("#go")
    is_ready(browser)
    hits = table.search("rockets in orbit")
    assert ids(browser) == hits.column("id").to_pylist()
    shown = all_of(browser, "#hits li:first-child .cosine")
    assert [float(each.split()[-1]) for each in shown] == pytest.approx(
        [hits["_cos_h"][0].as_py(), hits["_cos_r"][0].as_py()], abs=0.006
    )
    assert asked(browser) == {"q": ["rockets in orbit"]}


def test_a_search_by_words_marks_them(opened):
    browser = opened("?q=ovens&mode=text")
    assert set(all_of(browser, "#hits mark")) == {"oven"}
    assert len(ids(browser)) == 10


def test_only_modes_that_the_table_has_are_offered(browser, serve, make_table, tmp_path):
    bare = make_table(str(tmp_path / "bare"))
    with serve(create_app(ServiceSettings(tables=(str(bare.location),)))) as address:
        browser.visit(address + "?q=oven&mode=hybrid")
        is_ready(browser)
        assert not browser.run("document.querySelector('#mode').checkVisibility()")
        assert len(ids(browser)) == 10
        assert not browser.errors


def test_the_page_about_the_routes_names_each_with_its_fields_and_a_command(opened, served):
    browser = opened("docs")
    paths = served("GET", "/openapi.json").json()["paths"]
    routes = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert all_of(browser, "#routes h2") == routes == all_of(browser, "#contents a")
    for route, command in zip(routes, all_of(browser, "#routes pre"), strict=True):
        assert command.startswith("curl -s ")
        assert route.partition("{")[0].split()[-1] in command
    assert {"query", "topic", "like"} <= {*all_of(browser, "#post-search tbody th")}


def test_filters_narrow_the_results_and_stay_in_the_address(opened):
    browser = opened("?q=oven&k=20")
    browser.click_on("input[value=cars]")
    is_ready(browser)
    browser.run("(() => { const e = document.querySelector('[aria-label=\"n to\"]'); e.value = 7; e.onchange(); })()")
    is_ready(browser)
    assert sorted(ids(browser)) == ["d/1", "d/4", "d/7"]
    assert json.loads(asked(browser)["where"][0]) == {"theme": ["cars"], "n": {"lte": 7}}


def test_alpha_is_moved_with_the_keyboard_and_asked_for(opened, table):
    browser = opened("?q=motor+oven")
    browser.run("document.querySelector('#alpha').focus()")
    browser.press("ArrowRight")
    is_ready(browser)
    assert asked(browser)["alpha"] == ["1.1"]
    browser = opened("?q=motor+oven&alpha=4")
    assert ids(browser) == table.search("motor oven", alpha=4).column("id").to_pylist()


def test_more_and_less_like_a_document(opened, table):
    browser = opened("?q=oven")
    first = ids(browser)[0]
    browser.click_on("#hits li:first-child .actions button:first-child")
    is_ready(browser)
    assert ids(browser) == table.search(like=first).column("id").to_pylist()
    second = ids(browser)[0]
    browser.click_on("#hits li:first-child .actions button:last-child")
    is_ready(browser)
    assert ids(browser) == table.search(like=first, unlike=second).column("id").to_pylist()
    assert len(all_of(browser, "#chips button")) == 2
    browser.click_on("#chips .unlike button")
    is_ready(browser)
    assert asked(browser) == {"like": [first]}


def test_a_document_opens_and_the_way_back_closes_it(opened):
    browser = opened("?q=oven")
    before = ids(browser)
    browser.click_on("#hits .open")
    is_ready(browser)
    assert browser.run("document.querySelector('#document').open")
    assert all_of(browser, "#document-text p") == [all_of(browser, "#hits .passage")[0]]
    browser.run("history.back()")
    browser.wait("!document.querySelector('#document').open")
    is_ready(browser)
    browser.run("history.forward()")
    browser.wait("document.querySelector('#document').open")
    assert ids(browser) == before


def test_an_address_that_is_shared_shows_the_same(opened):
    browser = opened("?q=rocket&mode=hybrid&alpha=2&page=1&where=%7B%22theme%22%3A%5B%22space%22%2C%22food%22%5D%7D")
    first = ids(browser), all_of(browser, "#status")
    assert first[1] == ["Results 11 to 20"]
    values = "[...document.querySelectorAll('#query, #mode, #alpha')].map((e) => e.value)"
    assert browser.run(values) == ["rocket", "hybrid", "2"]
    browser.click_on("#before")
    is_ready(browser)
    assert not set(ids(browser)) & set(first[0])
    browser.run("history.back()")
    browser.wait("document.querySelector('#page').textContent === 'Page 2'")
    is_ready(browser)
    assert (ids(browser), all_of(browser, "#status")) == first


def test_the_keyboard_is_enough(opened):
    browser = opened()
    browser.press("/")
    assert browser.run("document.activeElement.id") == "query"
    for letter in "oven":
        browser.press(letter)
    browser.press("Enter")
    browser.wait("document.querySelectorAll('#hits .open').length")
    is_ready(browser)
    browser.press("ArrowDown")
    browser.press("ArrowDown")
    second = ids(browser)[1]
    assert browser.run("document.activeElement.textContent") == second
    browser.press("Enter")
    browser.wait("document.querySelector('#document').open")
    is_ready(browser)
    browser.press("Escape")
    browser.wait("!document.querySelector('#document').open")
    assert browser.run("document.activeElement.textContent") == second


def test_what_is_not_found_and_what_is_refused_is_told(opened):
    assert all_of(opened("?q=zeppelin&mode=text"), "#status") == ["Nothing found."]
    told = all_of(opened("?q=oven&page=1000"), "#status.error")
    browser = opened()
    assert len(told) == 1
    assert "k and offset" in told[0]
    browser.errors.clear()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_lies_beyond_the_window(opened, width):
    browser = opened("?q=oven&mode=hybrid&like=d/0", width=width)
    browser.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert len(ids(browser)) == 10
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")


def test_dark_is_dark(opened):
    assert opened(dark=True).picture()[-5, 5].mean() < 60
    assert opened().picture()[-5, 5].mean() > 200


def test_texts_are_shown_as_text(browser, serve, make_table, tmp_path):
    evil = "<img src=x onerror=alert(1)> oven"
    hostile = make_table(str(tmp_path / "evil"), [evil])
    hostile.index()
    token = new_token()
    settings = ServiceSettings(tables=(str(hostile.location),), token_hash=token_hash(token))
    with serve(create_app(settings)) as address:
        browser.visit(address + "?q=oven&mode=text&doc=d/0")
        browser.wait("document.querySelector('#token-dialog')?.open")
        browser.type("#token", token)
        browser.press("Enter")
        is_ready(browser)
        assert all_of(browser, "#document-text p") == [evil]
        assert all_of(browser, ".passage") == [evil]
        assert not browser.run("document.querySelectorAll('img').length")
        assert not browser.dialogs
        assert token not in browser.run("location.href + JSON.stringify({...sessionStorage, ...localStorage})")


def test_no_file_of_the_page_names_another_host(served):
    names = set(page._files())
    assert {"index.html", "style.css", "app.js"} <= names
    for name in names:
        answer = served("GET", f"/web/{name}")
        assert answer.status_code == 200
        text = answer.text.replace("http://www.w3.org/2000/svg", "a name, from which nothing is fetched")
        assert not re.search(r"https?:|[\"'(]//", text)
        assert not re.search(r"\son\w+=|style=|innerHTML|<script>|<style>", text)
    assert served("GET", "/").text == served("GET", "/web/index.html").text
    assert served("GET", "/web/app.py").status_code == 404
    assert served("GET", "/web/..%2Fapp.py").status_code == 404


def test_files_are_fetched_once_and_together_and_are_small(served):
    files = page._files()
    first = served("GET", "/web/app.js")
    assert first.headers["cache-control"] == "no-cache"
    again = served("GET", "/web/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    loaded = set(re.findall(r'="/web/(\w+\.js)"', files["index.html"][0].decode()))
    at_once, found = {"app.js"}, {"app.js"}
    while found:
        found = {name for file in found for name in imports(files[file][0].decode())} - at_once
        at_once |= found
    assert loaded == at_once
    later = re.findall(r'import\("\./(\w+\.js)"\)', "".join(files[name][0].decode() for name in at_once))
    assert "topic.js" in later
    assert {*at_once, *later} <= files.keys()
    assert not {*later} & at_once
    sizes = [served("GET", f"/web/{name}").num_bytes_downloaded for name in [*at_once, "index.html", "style.css"]]
    assert sum(sizes) < 20_000


def imports(script):
    """The modules that a module needs before it runs."""
    return set(re.findall(r'from "\./(\w+\.js)"', script))
