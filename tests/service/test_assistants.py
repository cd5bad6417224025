"""The endpoint for assistants, asked by the SDK's own client over real HTTP, and without the client."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import httpx2
import pytest
import uvicorn
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from pipeline.service import assistants
from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.tokens import new_token, token_hash

TOKEN = new_token()
CANARY = "canary7f3a"
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "oven"}}}
HEADERS = {"authorization": f"Bearer {TOKEN}", "accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def serving(table):
    """Serve the table on a real port: ``serving(**settings)`` gives the address of the endpoint."""
    running = []

    def serve(**settings):
        chosen = {"tables": (str(table.location),), "token_hash": token_hash(TOKEN), "mcp": True, **settings}
        server = uvicorn.Server(uvicorn.Config(create_app(ServiceSettings(**chosen)), port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        running.append((server, thread))
        deadline = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp"

    yield serve
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(30)


@pytest.fixture(scope="module")
def address(serving):
    return serving()


def session(address, talk):
    """What `talk` says, which talks to the endpoint by the SDK's client."""

    async def connected():
        async with (
            httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}) as http,
            Client(streamable_http_client(address, http_client=http)) as client,
        ):
            return await talk(client)

    return asyncio.run(connected())


def called(address, name, **arguments):
    async def call(client):
        return await client.call_tool(name, arguments)

    result = session(address, call)
    return result.is_error, result.content[0].text


def answered(address, name, **arguments):
    is_error, text = called(address, name, **arguments)
    assert not is_error, text
    return json.loads(text)


def test_tools_are_described_and_only_read(address):
    async def tools(client):
        return (await client.list_tools()).tools

    found = {tool.name: tool for tool in session(address, tools)}
    assert sorted(found) == ["document", "search", "similar", "topics"]
    assert all(tool.annotations.read_only_hint for tool in found.values())
    assert found["search"].input_schema["required"] == ["query"]
    assert found["search"].input_schema["additionalProperties"] is False


def test_tools_answer_as_the_routes_do(address, served, table):
    asked = {"query": "oven", "k": 3, "where": {"n": {"gte": 5}}, "mode": "hybrid"}
    assert answered(address, "search", **asked) == served("POST", "/search", json=asked).json()
    assert answered(address, "similar", id="d/0", k=2) == served("GET", "/similar/d/0", params={"k": 2}).json()
    assert answered(address, "document", id="d/4", table="docs")["rows"][0]["text"] == "motor engine number 1"


def test_what_is_refused_is_told_without_the_input(address):
    refused = [
        called(address, "search"),
        called(address, "search", query=CANARY, k=assistants.MAX_HITS + 1),
        called(address, "search", query="oven", k=CANARY),
        called(address, "search", query="oven", where={CANARY: 1}),
        called(address, "search", query="oven", where_sql=CANARY),
        called(address, "search", query="oven", **{CANARY: 1}),
        called(address, "document", id=CANARY),
        called(address, "document", id="d/4", table=CANARY),
        called(address, "topics"),
        called(address, CANARY),
    ]
    assert all(is_error for is_error, _ in refused)
    assert [text for _, text in refused if CANARY in text or not text] == []
    assert refused[0][1] == "query: Field required"


def test_texts_are_withheld_where_the_service_withholds_them(serving):
    address = serving(with_texts=False)
    for rows in (
        answered(address, "search", query="oven", mode="text")["hits"],
        answered(address, "similar", id="d/0")["hits"],
        answered(address, "document", id="d/4")["rows"],
    ):
        assert rows
        assert all("text" not in row and "_passage" not in row for row in rows)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"host": "evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
    ],
)
def test_the_guard_stands_before_it(address, headers, status):
    answer = httpx2.post(address, json=CALL, headers={**HEADERS, **headers})
    assert answer.status_code == status
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    if status == 200:
        metrics = httpx2.get(address.replace("/mcp", "/metrics"), headers=HEADERS).text
        assert 'moee_requests_total{route="/mcp",status="200"}' in metrics


@pytest.mark.parametrize(
    "content",
    [b"", b"{", f'"{CANARY}"'.encode(), f'{{"jsonrpc": "2.0", "id": 1, "method": "{CANARY}"}}'.encode(), b"x" * 2**21],
)
def test_malformed_requests_are_refused_and_not_repeated(address, content):
    answer = httpx2.post(address, content=content, headers={**HEADERS, "content-type": "application/json"})
    assert 400 <= answer.status_code < 500 or "error" in answer.json()
    assert CANARY not in answer.text, answer.text


def test_there_is_no_stream_to_hold_open(address):
    assert httpx2.get(address, headers=HEADERS).status_code == 405


def test_there_is_none_unless_it_is_asked_for(served):
    assert served("POST", "/mcp", json=CALL, headers=HEADERS).status_code == 404


def test_long_texts_and_many_rows_are_cut_and_say_so():
    row = {"id": "a", "text": "x" * 5_000, "list": ["y" * 2_000]}
    (cut,) = assistants._cut([row], 1_000)
    assert cut["text"] == "x" * 1_000 + " … (4,000 more characters)"
    assert cut["list"][0].endswith("(1,000 more characters)")
    whole = {"table": "docs", "hits": [row] * 20}
    fitting = assistants._fitting(whole)
    assert len(json.dumps(fitting)) <= assistants.ANSWER_LETTERS + 1_000
    assert fitting["left_out"] == {"hits": 20 - len(fitting["hits"])}
    assert assistants._fitting({"table": "docs", "hits": [row]}) == {"table": "docs", "hits": [row]}
