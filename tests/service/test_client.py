"""The clients against a real server on a real port, and that server under load and hostile connections."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

from pipeline.errors import NotInTableError, UsageError
from pipeline.service import AsyncClient, Client
from pipeline.service.client import ServiceError
from pipeline.table import VectorTable
from pipeline.tokens import new_token
from pipeline.values import as_json

TOKEN = new_token()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def server(table):
    """``moee serve`` as a process of its own, with a token; its port."""
    port = free_port()
    command = [sys.executable, "-m", "jobs.serve", str(table.location), "--port", str(port), "--log-requests"]
    environment = {**os.environ, "MOEE_SERVE_TOKEN": TOKEN}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not answers(port):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    yield port
    process.send_signal(signal.SIGTERM)
    out, log = process.communicate(timeout=30)
    assert "serves" in out
    assert TOKEN not in log
    assert "canary" not in log
    assert '"route": "/search"' in log
    assert "Traceback" not in log
    assert log.endswith("stopped\n")
    assert process.returncode == 0


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(200)
    except OSError:
        return False


@pytest.fixture
def client(server):
    with Client(f"http://127.0.0.1:{server}", token=TOKEN) as client:
        yield client


def test_the_client_answers_as_the_table_does(client, table):
    ours = client.search("rocket", k=4, where={"n": {"gte": 3}}, columns=["id", "theme"])
    theirs = table.search("rocket", k=4, where={"n": {"gte": 3}}, columns=["id", "theme"])
    assert ours.column_names == theirs.column_names
    assert ours.column("id").equals(theirs.column("id"))
    many = list(client.search_many(["rocket", "oven"] * 40, k=2))
    assert len(many) == 80
    assert many[0].column("id").to_pylist() == table.search("rocket", 2).column("id").to_pylist()
    assert as_json(client.document("d/7")) == as_json(table.document("d/7"))
    assert client.facets(["theme"], {"n": {"lt": 6}})["theme"].column("count").to_pylist() == [2, 2, 2]
    vector = table.encoder.encode("bread")
    assert client.search(vector, 1).column("id").to_pylist() == table.search(vector, 1).column("id").to_pylist()
    for queries, options in [
        (
            table.encoder.encode(["bread", "orbit"] * 9),
            {"alpha": [0.0, 4.0] * 9, "where": {"theme": {"space", "food"}}},
        ),
        (["bread", "orbit"], {"mode": "hybrid", "where": [{"n": {"gte": np.int64(3)}}, {"n": {"lt": 20.0}}]}),
    ]:
        found = [
            [hits.column("id").to_pylist() for hits in one.search_many(queries, 3, **options)]
            for one in (client, table)
        ]
        assert found[0] == found[1]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("method", ["search", "search_many", "document", "facets"])
def test_methods_are_called_as_those_of_a_table(kind, method):
    def parameters(owner):
        found = inspect.signature(getattr(owner, method)).parameters.values()
        return [each for each in found if each.name != "where_sql"]

    assert parameters(kind) == parameters(VectorTable)


def test_what_json_cannot_hold_is_refused_here(client):
    with pytest.raises(UsageError, match="no numbers to ask with"):
        client.search(np.array([np.nan]))
    with pytest.raises(UsageError, match="2 queries, but 3 values of alpha"):
        next(client.search_many(["a", "b"], alpha=[1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("first", "asked"),
    [
        ((429, "0"), 2),
        ((429, None), 2),
        ((503, "0"), 2),
        ((503, None), 1),
        ((500, "0"), 1),
    ],
)
def test_a_service_that_is_busy_is_asked_again(first, asked):
    seen = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self):
            status, after = first if not seen else (200, None)
            seen.append(status)
            self.send_response(status)
            if after is not None:
                self.send_header("retry-after", after)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            told = nullcontext() if asked == 2 else pytest.raises(ServiceError)
            with Client(f"http://127.0.0.1:{server.server_port}") as client, told:
                client.topics()
        finally:
            server.shutdown()
            thread.join()
    assert len(seen) == asked


def test_an_address_without_a_scheme_is_refused():
    with pytest.raises(UsageError, match="begins with http:// or https://"):
        Client("localhost:8000")


def test_errors_are_those_of_the_table(client, server):
    with pytest.raises(UsageError, match="/search: "):
        client.search("a", k=10**9)
    with pytest.raises(NotInTableError, match="there is no document"):
        client.search(like="nothing")
    with pytest.raises(NotInTableError, match="no topics yet"):
        client.topics()
    with (
        Client(f"http://127.0.0.1:{server}", token="wrong") as other,
        pytest.raises(ServiceError, match="bearer token"),
    ):
        other.search("a")
    with Client(f"http://127.0.0.1:{free_port()}") as nobody, pytest.raises(ServiceError, match="does not answer"):
        nobody.search("a")
    assert TOKEN not in repr(client)


def test_many_at_once_are_all_answered(server, table):
    """200 at a time, of which 64 are taken and the others come again."""

    async def ask():
        async with AsyncClient(f"http://127.0.0.1:{server}", token=TOKEN) as client:
            found = await asyncio.gather(*(client.search(f"oven {number % 7}", k=1) for number in range(200)))
            return [hits.column("id")[0].as_py() for hits in found]

    alone = [table.search(f"oven {number}", k=1).column("id")[0].as_py() for number in range(7)]
    assert asyncio.run(ask()) == [alone[number % 7] for number in range(200)]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\xfe\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /search?query=canary HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n{",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_odd_connections_are_refused_and_it_lives(server, sent):
    with socket.create_connection(("127.0.0.1", server), 5) as connection:
        connection.sendall(sent)
        answer = connection.recv(4096)
    assert b" 4" in answer[:20] or not answer
    assert b"canary" not in answer
    assert answers(server)
