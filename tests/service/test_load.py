"""A service under load while its table changes in another process: no error, right answers, memory that stays flat."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2
import psutil
import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = 20
WRITER = """
import sys, time
import numpy as np
import pyarrow as pa
from pipeline.table import VectorTable

table = VectorTable.open(sys.argv[1])
rng = np.random.default_rng(0)
turn = 0
while True:
    names = [f"w/{turn}/{number}" for number in range(40)]
    vectors = rng.normal(size=(40, table.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    metadata = pa.table({"theme": ["new"] * 40, "n": pa.array(range(40), pa.int64())})
    table.add(names, vectors, texts=[f"newcomer number {turn}"] * 40, metadata=metadata)
    table.delete(names[:30])
    table.index(min_bytes=1)
    turn += 1
    print(turn, flush=True)
"""


@pytest.fixture
def busy(make_table, tmp_path):
    """A server and a writer, each a process of its own, on one table: the server, its port, the writer,
    the table, and a version that has its indexes."""
    table = make_table(str(tmp_path / "lake" / "docs"), [f"{what} number {n}" for n in range(10) for what in "abc"])
    table.index(min_bytes=1)
    version = table.dataset().version
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = str(table.location)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jobs.serve", uri, "--port", str(port)], env=environment, stdout=log, stderr=log
        )
        writer = subprocess.Popen([sys.executable, "-c", WRITER, uri], env=environment, stdout=subprocess.PIPE)
    yield server, port, writer, table, version
    for process in (writer, server):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert "Traceback" not in (tmp_path / "log").read_text()


def questions(version):
    """Of every kind, each with whether its answer must never change."""
    then = {"at": version, "k": 30}
    return [
        ({"query": "a number"}, False),
        ({"query": "newcomer", "mode": "text"}, False),
        ({"query": "b number", "mode": "hybrid", "where": {"theme": ["new", "cars"]}}, False),
        ({"like": "d/3", "k": 50, "where": {"n": {"gte": 5}}}, False),
        ({"query": "a number", **then}, True),
        ({"query": "number", "mode": "text", **then}, True),
        ({"like": "d/0", "where": {"n": {"lt": 20}}, **then}, True),
    ]


async def load(port, version, until, statuses, problems):
    """Ask all the time, by many clients at once."""
    kept = {}

    async def client(number, http):
        turn = number
        while time.monotonic() < until:
            asked, same = questions(version)[turn % 7]
            answer = await http.post("/search", json=asked)
            statuses[answer.status_code] += 1
            if answer.status_code == 429:
                await asyncio.sleep(0.2)
            elif answer.status_code != 200:
                problems.append((turn % 7, answer.text))
            elif same:
                hits = sorted(hit["id"] for hit in answer.json()["hits"])
                if kept.setdefault(turn % 7, hits) != hits:
                    problems.append((turn % 7, "another answer of an earlier version"))
            turn += 1

    limits = httpx2.Limits(max_connections=CLIENTS)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as http:
        await asyncio.gather(*(client(number, http) for number in range(CLIENTS)))
    return kept


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_service_under_load_while_its_table_changes(busy, request):
    server, port, writer, table, version = busy
    seconds = 60 * request.config.getoption("--load-minutes", default=1.0)
    deadline = time.monotonic() + 100
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                break
        except httpx2.TransportError:
            time.sleep(0.2)
    statuses, problems, resident = Counter(), [], []

    async def watched():
        until = time.monotonic() + seconds
        asking = asyncio.create_task(load(port, version, until, statuses, problems))
        while not asking.done():
            resident.append(psutil.Process(server.pid).memory_info().rss >> 20)
            await asyncio.sleep(0.5)
        return await asking

    kept = asyncio.run(watched())
    assert writer.poll() is None
    rows = table.count_rows()
    third = len(resident) // 3
    begun, ended = statistics.median(resident[third : 2 * third]), statistics.median(resident[-third:])
    assert Counter(problems) == {}
    assert set(statuses) <= {200, 429}
    assert statuses[200] > 10 * seconds / 6
    assert rows > 50  # the table changed all the time
    assert len(kept) == 3
    assert ended <= 1.15 * begun, resident  # MB; the table itself has grown
