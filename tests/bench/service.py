"""``python tests/bench/service.py TABLE``: what ``moee serve`` takes to its first answer, alone and under load.

The server is a process of its own, the clients are another one on the same cores. A single request is compared with the
same query encoded and searched in Python; many clients with one that asks one request after the other. Writes
``tests/bench/results/service-DATE.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import socket
import statistics
import subprocess
import sys
import time

import httpx2
import psutil
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from pipeline.models import reference_texts
from pipeline.table import VectorTable

TARGETS = {
    "start to first answer, s": "<= 6",
    "resident, MB": "<= 1000",
    "errors": "0",
    "mean batch": "> 4",
    "rate of many clients / one": ">= 3",
    "single p50 / Python": "<= 1.3",
}


def queries(count: int) -> list[str]:
    """Short questions, each another one."""
    texts = reference_texts()
    return [" ".join(texts[at % len(texts)].split()[:8]) + f" {at}" for at in range(count)]


def start(table: str, port: int, clients: int) -> tuple[subprocess.Popen[str], float]:
    """The server, and seconds to its first answer."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "jobs.serve", table, "--port", str(port), "--max-requests", str(clients + 14)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, text=True)
    while True:
        if process.poll() is not None:
            sys.exit("the server ended")
        try:
            answer = httpx2.get(f"http://127.0.0.1:{port}/search", params={"query": "stars", "k": 1}, timeout=30)
            if answer.status_code == 200:
                return process, time.perf_counter() - began
        except httpx2.TransportError:
            time.sleep(0.05)


async def load(port: int, asked: list[str], clients: int) -> tuple[list[float], int, float]:
    """Seconds of each request, errors, and requests a second, of so many clients at once."""
    times: list[float] = []
    errors = 0
    waiting = iter(asked)

    async def one(client: httpx2.AsyncClient) -> None:
        nonlocal errors
        for query in waiting:
            began = time.perf_counter()
            answer = await client.post("/search", json={"query": query, "columns": ["id"]})
            times.append(time.perf_counter() - began)
            errors += answer.status_code != 200

    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits, timeout=60) as client:
        began = time.perf_counter()
        await asyncio.gather(*(one(client) for _ in range(clients)))
        return times, errors, len(asked) / (time.perf_counter() - began)


def in_python(table: VectorTable, asked: list[str]) -> list[float]:
    """Seconds of each query, encoded and searched in this process."""
    table.search("warm up", columns=["id"])
    times = []
    for query in asked:
        began = time.perf_counter()
        table.search(query, columns=["id"])
        times.append(time.perf_counter() - began)
    return times


def batches(port: int) -> tuple[float, float]:
    """(queries, batches) so far."""
    text = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
    total, count = (re.search(rf"moee_query_batch_size_{name} ([\d.]+)", text) for name in ("sum", "count"))
    assert total is not None
    assert count is not None
    return float(total[1]), float(count[1])


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", help="DIR/NAME, as of make demo")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process, first = start(given.table, port, given.clients)
    try:
        asked = queries(given.requests)
        alone, *_, rate_alone = asyncio.run(load(port, asked[:300], 1))
        before = batches(port)
        times, errors, rate = asyncio.run(load(port, asked, given.clients))
        encoded, count = (after - old for after, old in zip(batches(port), before, strict=True))
        resident = psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    table = VectorTable.open(given.table)
    python = in_python(table, asked[:300])
    quantiles = statistics.quantiles(times, n=20)
    figures = {
        "start to first answer, s": first,
        "resident, MB": resident,
        "errors": errors,
        "mean batch": encoded / count,
        "rate of many clients / one": rate / rate_alone,
        "single p50 / Python": statistics.median(alone) / statistics.median(python),
        "requests a second": rate,
        "single p50, ms": 1000 * statistics.median(alone),
        "p50 under load, ms": 1000 * statistics.median(times),
        "p95 under load, ms": 1000 * quantiles[-1],
    }
    shown = Table("", "measured", "wanted")
    for name, value in figures.items():
        shown.add_row(name, f"{value:,.2f}", TARGETS.get(name, ""))
    Console().print(shown)
    record = {"machine": machine(), "rows": table.count_rows(), "clients": given.clients, **figures}
    Console().print(f"kept in {save('service', record)}")


if __name__ == "__main__":
    main()
