from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import pytest


@pytest.fixture(scope="session")
def heads(load):
    return load("jobs/cluster/heads.py")


@dataclass(frozen=True)
class Cluster:
    """A head, and `moee` as a process of a user who has its token."""

    head: object
    lab: object

    def start(self, *arguments, address=None, **environment):
        words = [str(word) for word in arguments]
        place = ["--address", address or self.head.address]
        at = next((place for place, word in enumerate(words) if word == "--"), len(words))
        command = [sys.executable, "-m", "jobs.cli", *words[:at], *place, *words[at:]]
        return subprocess.Popen(
            command, env={**self.head.environment, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments, **given):
        process = self.start(*arguments, **given)
        out, err = process.communicate(timeout=280)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)


@pytest.fixture(scope="module")
def cluster(heads, lab, tmp_path_factory):
    """A cluster with two CPUs on its head."""
    with heads.running_head(lab, tmp_path_factory.mktemp("home")) as head:
        yield Cluster(head, lab)


@pytest.fixture(scope="module")
def nodes(heads, lab, tmp_path_factory):
    """A cluster as on Kubernetes: a head without CPUs for work, and two worker nodes."""
    with heads.running_head(lab, tmp_path_factory.mktemp("home"), cpus=0) as head:
        for _ in range(2):
            head.add_worker()
        yield Cluster(head, lab)
