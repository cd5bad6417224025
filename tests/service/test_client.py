"""The clients against a real server on a real port, and that server under load and hostile connections."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from pipeline.errors import NotInTableError, UsageError
from pipeline.service import AsyncClient, Client
from pipeline.service.client import ServiceError
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
    assert client.facets(["theme"], ["n<6"])["theme"].column("count").to_pylist() == [2, 2, 2]
    vector = table.encoder.encode("bread")
    assert client.search(vector, 1).column("id").to_pylist() == table.search(vector, 1).column("id").to_pylist()


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
