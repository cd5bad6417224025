"""The command as a Ray job: a real head node, ``ray job submit``, and the table is there."""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lancedb
import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RAY = str(Path(sys.executable).parent / "ray")


def free_ports(count):
    """Ports below those that Ray gives to its workers; random ones, as others on this machine look for some, too."""
    found = []
    for port in random.SystemRandom().sample(range(6390, 10000), 1000):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


@pytest.fixture
def head(lab, tmp_path):
    """A head node with the Jobs API, in a home and a short temporary folder of its own: (address, environment).

    All its ports are its own: with a default agent port taken by another cluster of this machine, no job ever starts.
    """
    port, dashboard, client, agent, agent_grpc, metrics = free_ports(6)
    folder = tempfile.mkdtemp(prefix="moee-", dir="/tmp")  # sockets lie below; their paths must be short
    environment = lab.environment(tmp_path / "home", RAY_TMPDIR=folder)
    command = [
        RAY, "start", "--head", "--block", "--num-cpus", "2", "--object-store-memory", "300000000",
        "--node-ip-address", "127.0.0.1", "--port", str(port), "--ray-client-server-port", str(client),
        "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard), "--temp-dir", folder,
        "--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(agent_grpc),
        "--metrics-export-port", str(metrics),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{dashboard}", environment
    finally:
        stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process):
    """End the head node and all that it started, and nothing else."""
    import psutil

    if process.poll() is not None:
        return
    top = psutil.Process(process.pid)
    top.suspend()  # so that it starts no more
    family = [*top.children(recursive=True), top]
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family, timeout=30)
    process.wait(timeout=30)


def submit(head, folder, *command):
    """``ray job submit`` and wait for its end; a head that has just come up has no agent for jobs for some seconds."""
    address, environment = head
    job = [RAY, "job", "submit", "--address", address, "--working-dir", str(folder), "--", *map(str, command)]
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(job, env=environment, capture_output=True, text=True, timeout=240, check=False)
        early = "No available agent" in done.stderr or "Failed to connect" in done.stderr
        if not early or time.monotonic() > deadline:
            return done
        time.sleep(1)


def test_embed_as_a_ray_job(head, lab, tmp_path):
    source = lab.write(tmp_path / "docs.jsonl", [*lab.documents(12), {"id": "nothing", "text": "", "theme": "none"}])
    table = tmp_path / "lake" / "docs"
    folder = tmp_path / "work"
    folder.mkdir()
    embed = (sys.executable, "-m", "jobs.embed")
    done = submit(head, folder, *embed, source, "--table", table, "--max-tokens", 24, "--pooling", "last")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "succeeded" in done.stdout
    assert "12 documents (" in done.stdout
    assert lancedb.connect(table.parent).open_table("docs").count_rows() == 12

    failed = submit(head, folder, *embed, source)
    assert failed.returncode == 1  # Ray's own; the command's is in the job's message
    assert "error: the following arguments are required: --table" in failed.stdout
    assert "Traceback" not in failed.stdout
