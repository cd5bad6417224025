"""What really listens is what docs/reference/listening.md says, no more and no less; and what doctor says of it."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
import requests

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "listening.md"
KINDS = {
    "dashboard.py": "dashboard",
    "monitor.py": "monitor",
    "ray.util.client.server": "client server",
    "ray::DashboardAgent": "DashboardAgent",
    "ray::RuntimeEnvAgent": "RuntimeEnvAgent",
    "ProxyActor": "proxy",
    "ray::": "worker",
}
"""By a part of the command line, the first that fits. Other processes have their own name, or are the driver."""

MANY = {"worker", "driver"}
FIXED = ("44217", "44227", "52365")
"""Ports of which a machine has one only: of two clusters the second does without, and says nothing."""


class Row(NamedTuple):
    process: str
    where: str
    port: str
    purpose: str
    guard: str


def table(heading):
    """The rows of the tables below a heading."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
    lines = [line for line in section.splitlines() if line.startswith("|") and not line.startswith(("| process", "|-"))]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def kind(process):
    command = " ".join(process.cmdline())
    named = process.name() if process.name() in {"gcs_server", "raylet"} else "driver"
    return next((kind for part, kind in KINDS.items() if part in command), named)


def sockets(process):
    """(process, address, port) of all that listens in a process and below it."""
    family = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    for member in family:
        with contextlib.suppress(psutil.Error):
            for found in member.net_connections("inet"):
                if found.status == psutil.CONN_LISTEN:
                    yield kind(member), found.laddr.ip.removeprefix("::ffff:"), found.laddr.port


def listening(process):
    """How many ports each kind of process has on what."""
    where = {"::": "all interfaces", "0.0.0.0": "all interfaces", "127.0.0.1": "this machine", "::1": "this machine"}
    return counted((name, where.get(address, "the node's address")) for name, address, _ in set(sockets(process)))


def counted(pairs):
    found = Counter(pairs)
    return {pair: 1 if pair[0] in MANY else number for pair, number in found.items()}


def assert_listening(process, rows, seconds=90):
    """What listens is what the rows say, within some time."""
    ends = time.monotonic() + seconds
    while (found := listening(process)) != (wanted := expected(rows, process)) and time.monotonic() < ends:
        time.sleep(0.5)
    assert found == wanted


def expected(rows, process):
    own = {str(port) for _, _, port in sockets(process)}
    elsewhere = {port for port in FIXED if port not in own and is_open(int(port))}
    return counted((row.process, row.where) for row in rows if row.port not in elsewhere)


def is_open(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def assert_unguarded(process, rows):
    """No other ports than the rows say answer to a stranger with what they have."""
    assert Counter(open_ports(process)) <= Counter(row.process for row in rows if row.guard == "**nothing**")


def open_ports(process):
    """Kinds of processes that answer a stranger's HTTP request with what they have."""
    for name, address, port in set(sockets(process)):
        host = "127.0.0.1" if address in {"::", "0.0.0.0"} else address
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"http://{host}:{port}/metrics", timeout=3).ok:
                yield name


JOIN = "import ray, sys; ray.init(sys.argv[1], logging_level=50); print('in', flush=True); input()"

OWN = """
import ray
from pipeline.flow.engines.cluster import cluster
with cluster():
    ray.get(ray.remote(lambda: None).remote())
    print("in", flush=True)
    input()
"""


@pytest.mark.slow
def test_a_head_a_worker_and_a_driver_open_what_the_page_says(cluster):
    head, worker = cluster.head, cluster.head.add_worker()
    rows = table("A head, by `ray start --head`")
    if not json.loads(cluster("jobs", "list", "--all", "--json").stdout)["jobs"]:  # of other tests
        rows = [row for row in rows if "from the first job on" not in row.port]
    with running([sys.executable, "-c", JOIN, f"127.0.0.1:{head.port}"], head.environment) as driver:
        assert driver.stdout.readline() == "in\n"
        assert listening(driver.pid) == {("driver", "all interfaces"): 1}
        assert_listening(head.nodes[0].pid, rows)
    assert_unguarded(head.nodes[0].pid, rows)
    below = table("A worker node, by `ray start --address`")
    assert_listening(worker.pid, [row for row in below if row.process != "worker"])  # no task has come to it


def test_a_cluster_of_a_commands_own_opens_what_the_page_says(lab, tmp_path):
    rows = [row for row in table("A Ray cluster on this machine") if row.process != "proxy"]
    with running([sys.executable, "-c", OWN], lab.environment(tmp_path)) as driver:
        assert driver.stdout.readline() == "in\n"
        assert_listening(driver.pid, rows)
        assert_unguarded(driver.pid, rows)


@pytest.mark.slow
def test_doctor_says_what_a_job_meets_there_and_forgets_it(cluster):
    def examined(**environment):
        done = cluster("doctor", "--json", **environment)
        found = json.loads(done.stdout)["findings"]
        return done.returncode, [each for each in found if each["subject"].startswith("cluster ")]

    wait_until_jobs_are_taken(cluster)
    status, found = examined()
    assert status == 0, found
    told = " ".join(each["what"] for each in found)
    assert f"its python is {sys.executable}, Python" in told
    assert "it asks for a token, and takes this one" in told
    assert f"Ray {metadata.version('ray')} on both sides" in told
    assert json.loads(cluster("jobs", "list", "--json").stdout)["jobs"] == []
    status, found = examined(RAY_AUTH_TOKEN="another" * 8)
    assert status == 1
    assert "does not accept this token" in found[-1]["what"]
    assert found[-1]["do"].startswith("export RAY_AUTH_TOKEN=")


def wait_until_jobs_are_taken(cluster):
    ends = time.monotonic() + 90
    while cluster("jobs", "list").returncode and time.monotonic() < ends:
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["alone", "ray"])
def test_a_service_opens_what_the_page_says(lab, news, heads, tmp_path, engine):
    (port,) = heads.free_ports(1)
    command = [sys.executable, "-m", "jobs.serve", news.table, "--port", str(port)]
    if engine == "ray":
        rows = table("A Ray cluster on this machine")
        command += ["--ray", "--replica-cpus", "0.5"]
    else:
        rows = [row._replace(process="driver") for row in table("`moee serve`")]
    with running(command, lab.environment(tmp_path)) as service:
        assert service.stdout.readline().startswith("http://127.0.0.1")
        assert_listening(service.pid, rows)


@contextlib.contextmanager
def running(command, environment):
    """A process while the context lasts, which then has time to end what it began."""
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.stdin.close()
            process.terminate()
            process.wait(60)
