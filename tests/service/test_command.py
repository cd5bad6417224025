"""``moee serve`` as people and supervisors run it: one line where it cannot start, a good end, a log for programs."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx2
import pytest

from pipeline.table import VectorTable

CANARY = "canary7f3a"


def command(table, *options):
    return [sys.executable, "-m", "jobs.serve", str(table), *options]


@contextmanager
def running(table, *options):
    """The process, and its address once it listens."""
    process = subprocess.Popen(
        command(table, "--port", "0", *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said = process.stdout.readline()
        assert " serves " in said, process.communicate()
        yield process, said.split()[0]
    finally:
        process.kill()
        process.communicate()


def listens(address):
    try:
        return httpx2.get(f"{address}/healthz").status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def taken():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield str(listening.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port", "TAKEN"], "port TAKEN: Address already in use; choose by --host and --port"),
        (["--host", "nosuch.invalid", "--token-hash", "0" * 64], "Name or service not known"),
        (["--certificate", "nowhere.pem", "--key", "nowhere.pem"], "nowhere.pem: No such file or directory"),
        (["--certificate", __file__, "--key", __file__], "these are no PEM files that belong together"),
        (["--max-requests", "0"], "limits.requests"),
        (["--max-cache", "0"], "limits.cached_bytes"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(table, taken, options, told):
    given = [option.replace("TAKEN", taken) for option in options]
    ended = subprocess.run(command(table.location, *given), capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = [line for line in ended.stderr.splitlines() if not line.endswith(" …")]
    assert line.startswith("error: ")
    assert told.replace("TAKEN", taken) in line


def test_a_table_that_is_missing_or_whose_model_is_another_says_so_in_one_line(encoder, tmp_path):
    VectorTable.create(
        str(tmp_path / "other"),
        spec=encoder.spec,
        meaning=encoder.meaning | {"checkpoint": "0" * 64},
        calibration=encoder.calibration,
        halves=encoder.halves,
    )
    for name, told in [("nothing", "there is no table"), ("other", "do not compare")]:
        ended = subprocess.run(command(tmp_path / name), capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        assert ended.stdout == ""
        (line,) = [line for line in ended.stderr.splitlines() if not line.endswith(" …")]
        assert told in line


def test_on_sigterm_what_was_begun_is_answered_and_nothing_new_is_taken(table):
    asked = {"queries": [f"{CANARY} {number}" for number in range(128)], "k": 3}
    answers = []
    with running(table.location) as (process, address):
        threads = [
            threading.Thread(
                target=lambda: answers.append(httpx2.post(f"{address}/search/batch", json=asked, timeout=60))
            )
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        while "moee_requests_active 4.0" not in httpx2.get(f"{address}/metrics").text:
            assert not answers
        process.send_signal(signal.SIGTERM)
        while listens(address):
            time.sleep(0.01)
        for thread in threads:
            thread.join()
        out, log = process.communicate(timeout=60)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {len(answer.json()["answers"]) for answer in answers} == {128}
    assert process.returncode == 0
    assert out == ""
    assert log.endswith("stopped\n")
    assert "Traceback" not in log


def test_a_second_ctrl_c_waits_for_nobody(table):
    with running(table.location) as (process, address):
        slow = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 40)
        slow.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        while "moee_requests_active 2.0" not in httpx2.get(f"{address}/metrics").text:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=10)
        told = slow.recv(1000)
        slow.close()
    assert process.returncode == 0
    assert log.splitlines()[-1] == "stopped"
    assert "Traceback" not in log
    assert b" 503 " in told[:20] or not told


def test_the_log_of_requests_is_lines_of_json_without_what_was_asked(table):
    with running(table.location, "--log-requests") as (process, address), httpx2.Client(base_url=address) as http:
        http.post("/search", json={"query": CANARY, "k": 3})
        http.post("/search/batch", json={"queries": [CANARY, "oven"], "k": 2})
        http.get("/search", params={"query": CANARY, "mode": "text", "where": "n<0"})
        http.get(f"/documents/{CANARY}")
        http.post("/search", json={"query": CANARY, "k": 10**9})
        http.get("/search", params={"query": "a", "where": f"{CANARY}=1"})
        http.get(f"/{CANARY}")
        http.get("/tables", headers={"host": CANARY})
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert CANARY not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert all(line["ms"] >= 0 and line["time"] for line in lines)
    told = [{name: value for name, value in line.items() if name not in {"time", "ms"}} for line in lines]
    table_of = {"table": table.name}
    assert told == [
        {"method": "POST", "route": "/search", "status": 200, **table_of, "queries": 1, "batch": 1, "hits": 3},
        {"method": "POST", "route": "/search/batch", "status": 200, **table_of, "queries": 2, "batch": 2, "hits": 4},
        {"method": "GET", "route": "/search", "status": 200, **table_of, "queries": 1, "batch": 0, "hits": 0},
        {"method": "GET", "route": "/documents/{id:path}", "status": 404, **table_of},
        {"method": "POST", "route": "/search", "status": 422},
        {"method": "GET", "route": "/search", "status": 422, **table_of},
        {"method": "GET", "route": "other", "status": 404},
        {"method": "GET", "route": "other", "status": 421},
    ]


def test_a_connection_that_sends_no_body_is_told_so_and_holds_up_nobody(table):
    """Each of them takes one of the places; the rest is answered."""
    with running(table.location, "--max-requests", "8") as (_, address):
        port = int(address.rpartition(":")[2])
        slow = [socket.create_connection(("127.0.0.1", port), 40) for _ in range(8)]
        for connection in slow:
            connection.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{")
        deadline = time.monotonic() + 10
        while httpx2.get(f"{address}/tables").status_code != 429:
            assert time.monotonic() < deadline
        assert httpx2.get(f"{address}/healthz").status_code == 200
        for connection in slow:
            connection.close()
        while httpx2.get(f"{address}/tables").status_code != 200:
            assert time.monotonic() < deadline + 10


def test_a_table_that_is_dropped_and_made_anew_under_load_is_answered_or_missed(make_table, tmp_path):
    uri = str(tmp_path / "lake" / "t")
    make_table(uri).index(min_bytes=1)
    asked = [
        {"query": "rocket"},
        {"query": "oven", "mode": "hybrid", "where": {"n": {"gte": 0}}},
        {"like": "d/0", "k": 30},
        {"query": "bread", "mode": "text"},
    ]
    answers, done = [], threading.Event()

    def ask(address, number):
        with httpx2.Client(base_url=address, timeout=60) as http:
            while not done.is_set():
                answers.append(http.post("/search", json=asked[number % 4]))

    with running(uri) as (process, address):
        threads = [threading.Thread(target=ask, args=(address, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        try:
            for turn in range(4):
                time.sleep(0.5)
                for companion in ("", ".calibration"):
                    shutil.rmtree(f"{uri}{companion}.lance")
                time.sleep(0.3)
                make_table(uri, [f"rocket of turn {turn}", "oven"]).index(min_bytes=1)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        hits = httpx2.post(f"{address}/search", json={"query": "rocket", "k": 1}).json()["hits"]
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert [hit["text"] for hit in hits] == ["rocket of turn 3"]
    assert {answer.status_code for answer in answers} <= {200, 404, 503}
    missed = [answer.json()["detail"] for answer in answers if answer.status_code != 200]
    assert "there is no table t, or not any more" in missed
    assert not any(tmp_path.name in detail for detail in missed)
    assert "Traceback" not in log
