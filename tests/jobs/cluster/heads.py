"""Real Ray clusters of processes of this machine, with tokens; and a way to them that can be cut."""

from __future__ import annotations

import contextlib
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass
class Head:
    """A head node with the Jobs API, in a home and a short temporary folder of its own, and its worker nodes.

    All its ports are its own: with a default agent port taken by another cluster of this machine, no job ever starts.
    """

    environment: dict
    port: int
    address: str
    token: str
    folder: str
    nodes: list = field(default_factory=list)

    def add_worker(self):
        """A raylet with one CPU; give it to `stop` to kill it."""
        agent, agent_grpc, metrics = free_ports(3)
        self.nodes.append(
            self._start(
                "--address", f"127.0.0.1:{self.port}", "--num-cpus", "1", "--node-ip-address", "127.0.0.1",
                "--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(agent_grpc),
                "--metrics-export-port", str(metrics), "--object-store-memory", "150000000",
            )
        )  # fmt: skip
        return self.nodes[-1]

    def _start(self, *arguments):
        return subprocess.Popen(
            [RAY, "start", "--block", "--temp-dir", self.folder, *arguments],
            env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip


@contextlib.contextmanager
def running_head(lab, home, cpus=2):
    """A head while the context lasts."""
    port, dashboard, client, agent, agent_grpc, metrics = free_ports(6)
    folder = tempfile.mkdtemp(prefix="moee-", dir="/tmp")  # sockets lie below; their paths must be short
    token = secrets.token_hex(32)
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"  # `python` of a job is the first one there
    environment = lab.environment(home, RAY_TMPDIR=folder, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token, PATH=path)
    head = Head(environment, port, f"http://127.0.0.1:{dashboard}", token, folder)
    head.nodes.append(
        head._start(
            "--head", "--num-cpus", str(cpus), "--object-store-memory", "300000000",
            "--node-ip-address", "127.0.0.1", "--port", str(port), "--ray-client-server-port", str(client),
            "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard),
            "--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(agent_grpc),
            "--metrics-export-port", str(metrics),
        )
    )  # fmt: skip
    try:
        yield head
    finally:
        for node in reversed(head.nodes):
            stop(node)
        shutil.rmtree(folder, ignore_errors=True)


def stop(process):
    """End a node and all that it started, and nothing else."""
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


class Way:
    """A way to a port of this machine, at `address`, whose connections can be cut."""

    def __init__(self, port):
        self._target = port
        self._pairs = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:  # closed
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the head is not there yet
                near.close()
                continue
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """Break what is open, and say how many connections that were; new ones are let through."""
        pairs, self._pairs = self._pairs, []
        alive = 0
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                    alive += 1
                end.close()
        return alive // 2

    def close(self):
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits there
        self._listening.close()
        self.cut()
