"""Several machines: raylets of their own on this host, one of which is killed in the middle and another one added."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pipeline import VectorTable

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

HERE = Path(__file__).parent
ROWS = 600


class Nodes:
    """The cluster's host as a process."""

    def __init__(self, environment):
        command = [sys.executable, str(HERE / "node_host.py")]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.address = self.answer()

    def answer(self):
        line = self.process.stdout.readline().strip()
        assert line, "the cluster's host died"
        return line

    def ask(self, what):
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def environment(lab, tmp_path):
    return lab.environment(tmp_path / "home", RAY_num_workers_soft_limit="16")


@pytest.fixture
def nodes(environment):
    started = Nodes(environment)
    yield started
    started.close()


def start(environment, nodes, *arguments):
    command = [sys.executable, str(HERE / "stub_driver.py"), *map(str, arguments)]
    environment = {**environment, "RAY_ADDRESS": nodes.address}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_rows(lab, process, table, rows):
    deadline = time.monotonic() + 150
    while lab.rows_in(table) < rows:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_node_dies_another_comes_and_every_document_is_there_once(lab, environment, nodes, tmp_path):
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    lab.write(corpus / "a.parquet", lab.documents(ROWS, "a"))
    empty = {"id": "b-empty", "text": " ", "theme": "none"}
    lab.write(corpus / "b.jsonl", [empty, *lab.documents(ROWS // 4, "b"), lab.documents(1, "a")[0]])
    nodes.ask("add")
    process = start(environment, nodes, table, corpus, "--replicas", "1:2", "--delay", 0.02)
    wait_for_rows(lab, process, table, ROWS // 8)
    assert lab.rows_in(table) < ROWS, "the kill comes too late to be in the middle"
    assert nodes.ask("kill").startswith("killed")
    nodes.ask("add")
    out, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    expected = {row["id"] for row in [*lab.documents(ROWS, "a"), *lab.documents(ROWS // 4, "b")]}
    assert set(lab.stored(table)) == expected, out
    rejects = VectorTable.open(table).rejects().to_pylist()
    assert sorted((row["id"], row["reason"]) for row in rejects) == [("a-0", "duplicate id"), ("b-empty", "empty")]
    assert not lab.old_orphans(table)


def test_replicas_grow_with_the_work(lab, environment, nodes, tmp_path):
    """MIN:MAX: one replica at first, a second one when there is work for two and a node for it."""
    corpus, table = tmp_path / "corpus", str(tmp_path / "lake" / "docs")
    lab.write(corpus / "a.parquet", lab.documents(ROWS, "a"))
    nodes.ask("add")
    process = start(environment, nodes, table, corpus, "--replicas", "1:2", "--delay", 0.2)
    seen = {0}
    while process.poll() is None and 2 not in seen:
        seen.add(replicas(nodes))
        time.sleep(0.05)  # seconds pass between the first and the second
    process.kill()
    _, errors = process.communicate()
    assert seen == {0, 1, 2}, errors


def replicas(nodes):
    """Replicas that run in this cluster now."""
    found = 0
    for process in psutil.Process(nodes.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found += "MapWorker(MapBatches(RayEmbedStage" in " ".join(process.cmdline())
    return found
