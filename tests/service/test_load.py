"""A service under load while its table is embedded into, indexed, and its topics refreshed by another process.

No error but 429, right answers, memory and open files that stay flat. ``--load-minutes 10`` is the promise as it is
written; ten minutes or more write ``tests/bench/results/service-load-DATE.json``.
"""

from __future__ import annotations

import asyncio
import json
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

from pipeline.flow.embed import embed
from pipeline.models import reference_texts
from pipeline.table import VectorTable
from pipeline.topics import fit_topics

ROOT = Path(__file__).parents[2]
CLIENTS = 20
WRITER = """
import json, sys
from pathlib import Path
from jobs.cli import main
from pipeline.models import reference_texts

source, table = sys.argv[1:]
texts = reference_texts()
for turn in range(1, 10**6):
    new = [f"newcomer {texts[(60 * turn + n) % len(texts)]}" for n in range(60)]
    rows = [{"id": f"w/{turn % 5}/{n}", "text": text, "theme": "new", "n": n} for n, text in enumerate(new)]
    Path(source, f"w{turn % 5}.jsonl").write_text("".join(json.dumps(row) + chr(10) for row in rows))
    for command in (
        ["embed", source, "--table", table, "--engine", "local", "--wait", "60"],
        ["delete", table, f"w/{turn % 5}/{turn % 60}"],
        ["index", table],
        ["topics", "refresh", table, "--wait", "60", "--births", "100"],
    ):
        status = main(command)
        if status:
            sys.exit(f"{command} ended with {status}")
    print("turn", turn, flush=True)
"""


@pytest.fixture
def busy(tmp_path):
    """A server and a writer, each a process of its own, on one table: the server, its port, the writer and its log,
    the table, and a version that has its indexes."""
    source = tmp_path / "source"
    source.mkdir()
    themes = ("space", "cars", "food")
    texts = reference_texts()[:1000]
    rows = [{"id": f"d/{n}", "text": text, "theme": themes[n % 3], "n": n} for n, text in enumerate(texts)]
    (source / "first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    uri = str(tmp_path / "lake" / "docs")
    embed(str(source), uri, engine="local", keep=("theme", "n"))
    table = VectorTable.open(uri)
    table.index(min_bytes=1)
    fit_topics(table, recipe="pca")
    version = table.dataset().version
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (tmp_path / "log").open("w") as log, (tmp_path / "written").open("w") as written:
        server = subprocess.Popen(
            [sys.executable, "-m", "jobs.serve", uri, "--port", str(port)], env=environment, stdout=log, stderr=log
        )
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(source), uri], env=environment, stdout=written, stderr=written
        )
    yield server, port, writer, tmp_path / "written", table, version
    for process in (writer, server):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert "Traceback" not in (tmp_path / "log").read_text()


def questions(version):
    """Of every kind, each with whether its answer must never change."""
    then = {"at": version, "k": 30}
    searches = [
        ({"query": "a number"}, False),
        ({"query": "newcomer", "mode": "text"}, False),
        ({"query": "wild animal", "mode": "hybrid", "where": {"theme": ["new", "cars"]}}, False),
        ({"like": "d/3", "k": 50, "where": {"n": {"gte": 5}}}, False),
        ({"query": "a number", **then}, True),
        ({"query": "number", "mode": "text", **then}, True),
        ({"like": "d/0", "where": {"n": {"lt": 200}}, **then}, True),
    ]
    return [
        *(("POST", "/search", {"json": asked}, same) for asked, same in searches),
        ("POST", "/search/batch", {"json": {"queries": ["a tree", "a ship", "newcomer"], "k": 3}}, False),
        ("GET", "/facets", {"params": {"column": "theme"}}, False),
        ("GET", "/documents/d/7", {}, True),
        ("GET", "/topics", {}, False),
    ]


async def ask_all(port, version, until, answers, problems):
    """Ask all the time, by many clients at once."""
    kept = {}
    asked = questions(version)

    async def client(number, http):
        turn = number
        while time.monotonic() < until:
            method, path, content, same = asked[turn % len(asked)]
            begun = time.monotonic()
            answer = await http.request(method, path, **content)
            answers.append((answer.status_code, time.monotonic() - begun))
            if answer.status_code == 429:
                await asyncio.sleep(0.2)
            elif answer.status_code != 200:
                problems.append((turn % len(asked), answer.text))
            elif same:
                hits = sorted(row["id"] for row in answer.json().get("hits") or answer.json()["rows"])
                if kept.setdefault(turn % len(asked), hits) != hits:
                    problems.append((turn % len(asked), "another answer of an earlier version"))
            turn += 1

    limits = httpx2.Limits(max_connections=CLIENTS)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as http:
        await asyncio.gather(*(client(number, http) for number in range(CLIENTS)))
    return kept


def record(minutes, answers, resident, files, versions, turns):
    """What the load was, and what it met; `resident` in MB and `files` twice a second."""
    times = statistics.quantiles((seconds for status, seconds in answers if status == 200), n=20)
    statuses = Counter(status for status, _ in answers)
    return {
        "minutes": minutes,
        "clients": CLIENTS,
        "answers": {str(status): count for status, count in sorted(statuses.items())},
        "p50, ms": 1000 * times[9],
        "p95, ms": 1000 * times[-1],
        "turns of embed, delete, index, topics refresh": turns,
        "versions of the table": versions,
        "resident at each minute, MB": resident[::120],
        "resident at the end, MB": resident[-1],
        "open files at each minute": files[::120],
        "open files at most": max(files),
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_service_under_load_while_its_table_changes(busy, request, load):
    server, port, writer, written, table, version = busy
    minutes = request.config.getoption("--load-minutes", default=1.0)
    deadline = time.monotonic() + 100
    while True:
        assert server.poll() is None
        assert time.monotonic() < deadline
        try:
            if httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200:
                break
        except httpx2.TransportError:
            time.sleep(0.2)
    answers, problems, resident, files = [], [], [], []
    process = psutil.Process(server.pid)

    async def watched():
        until = time.monotonic() + 60 * minutes
        asking = asyncio.create_task(ask_all(port, version, until, answers, problems))
        while not asking.done():
            resident.append(process.memory_info().rss >> 20)
            files.append(len(process.open_files()))
            await asyncio.sleep(0.5)
        return await asking

    kept = asyncio.run(watched())
    assert writer.poll() is None, written.read_text()[-2000:]
    versions = table.dataset().version
    statuses = Counter(status for status, _ in answers)
    third = len(resident) // 3
    begun, ended = statistics.median(resident[third : 2 * third]), statistics.median(resident[-third:])
    if minutes >= 10:
        bench = load("bench/common.py")
        turns = written.read_text().count("\nturn ")
        figures = record(minutes, answers, resident, files, versions - version, turns)
        bench.save("service-load", {"machine": bench.machine(), **figures})
    assert Counter(problems) == {}
    assert set(statuses) <= {200, 429}
    assert statuses[200] > 100 * minutes
    assert versions > version + 4  # the table changed all the time
    assert len(kept) == 4
    assert ended <= 1.15 * begun, resident  # MB
