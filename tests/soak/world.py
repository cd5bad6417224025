"""What a soak happens in: a corpus, a table on a small disk or in object storage, a Ray cluster that lives on, drivers.

`World` knows how to start a driver, how to hurt it, and what must be true afterwards.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import lancedb
import psutil

if TYPE_CHECKING:
    import random

TESTS = Path(__file__).parents[1]
DISK_BYTES = 256 << 20
NULL = {"id": "a-null", "text": None, "theme": "none"}
EMPTY = {"id": "b-empty", "text": " ", "theme": ""}
STAGES = {
    "ray": {"replica": "EmbedStage", "reader": "ReadStage", "writer": "WriteStage"},
    "local": {"replica": "replica 0", "reader": "reader", "writer": "replica 0"},
}
"""Words of a worker's command line."""


@dataclass
class World:
    """`corpus` → `table` by drivers on one cluster, whose host process (tests/flow/node_host.py) is `host`."""

    lab: object
    folder: Path
    random: random.Random
    engine: str = "ray"
    host: subprocess.Popen = None
    nodes: int = 0
    disk: Path = None
    happened: list = field(default_factory=list)

    def __post_init__(self):
        self.environment = self.lab.environment(self.folder / "home", RAY_num_workers_soft_limit="16")
        self.environment["RAY_task_oom_retries"] = "-1"
        self.disk = self.folder / "lake"
        self.disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(self.disk)]
        mounted = subprocess.run(command, check=False, capture_output=True)
        self.can_fill = mounted.returncode == 0
        if self.engine == "ray":
            self.open_cluster()

    def open_cluster(self):
        """The head, which lives as long as the soak, and a node."""
        with (self.folder / "host.log").open("w") as log:
            self.host = subprocess.Popen(
                [sys.executable, str(TESTS / "flow" / "node_host.py")],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self.environment["RAY_ADDRESS"] = self.host.stdout.readline().strip()
        assert self.environment["RAY_ADDRESS"], (self.folder / "host.log").read_text()
        self.ask("add")

    def ask(self, what):
        self.host.stdin.write(f"{what}\n")
        self.host.stdin.flush()
        answer = self.host.stdout.readline()
        assert answer, "the cluster's host died"
        self.nodes += 1 if what == "add" else -1

    def close(self):
        if self.host is not None:
            self.close_cluster()
        if self.can_fill:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)

    def close_cluster(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.host.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.host.kill()
        self.host.wait()
        self.host.stdin.close()
        self.host.stdout.close()

    def make_corpus(self, number, rows):
        """Files of several formats with trouble in them; (folder, everything that is in it by file name and row)."""
        documents = self.lab.documents
        return self._write(
            number,
            {
                "a.parquet": [*documents(rows // 2, "a"), NULL],
                "b.jsonl": [*documents(rows // 4, "b"), EMPTY, documents(1, "a")[0]],
                "c.jsonl.gz": documents(rows // 4, "c"),
            },
        )

    def partition_anew(self, number, rows):
        """The same documents, many of them in other files: changed ones, a new one, and one that keeps its rows."""
        a, b = self.lab.documents(rows // 2, "a"), self.lab.documents(rows // 4, "b")
        third = rows // 6
        return self._write(
            number,
            {
                "0.jsonl": b[third:],
                "a.parquet": [*a[third:], NULL, *b[: third // 2]],
                "b.jsonl": [EMPTY, a[0], *b[third // 2 : third], *a[:third]],
                "c.jsonl.gz": self.lab.documents(rows // 4, "c"),
            },
        )

    def _write(self, number, files):
        corpus = self.folder / f"corpus-{number}"
        for name, lines in files.items():
            self.lab.write(corpus / name, lines)
        return corpus, {(name, row) for name, lines in files.items() for row in range(len(lines))}

    def start(self, corpus, table, *more, **variables):
        """A driver; its words go to a file of its own."""
        log = self.folder / f"driver-{len(self.happened)}-{time.monotonic_ns()}.log"
        command = [sys.executable, str(TESTS / "flow" / "stub_driver.py"), str(table), str(corpus)]
        command += ["--engine", self.engine, *map(str, more)]
        with log.open("w") as words:
            process = subprocess.Popen(
                command,
                env={**self.environment, **variables},
                stdout=words,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process.log = log
        return process

    def workers(self, stage, driver):
        """Living processes of one kind: of the cluster, or of the driver itself."""
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.host.pid if self.engine == "ray" else driver.pid)
            for process in parent.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if STAGES[self.engine][stage] in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def kill_worker(self, stage, driver):
        """SIGKILL for one of them; whether there was one."""
        living = self.workers(stage, driver)
        if not living:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            self.random.choice(living).kill()
        return True

    def kill_driver(self, driver):
        """SIGKILL for a driver; the cluster lives on."""
        if driver.poll() is not None:
            return False
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        return True

    def kill_node(self):
        """SIGKILL for a raylet with all its workers; another node comes."""
        self.ask("kill")
        self.ask("add")
        return True

    def fill_disk(self, seconds):
        """No space is left on the table's disk, for a while."""
        if not self.can_fill:
            return False
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 20))
        time.sleep(seconds)
        ballast.unlink()
        return True


def check(table, everything, options=None):
    """Accepted ∪ rejected = input, each once; ids distinct; plain lancedb reads every column."""
    from pipeline import VectorTable
    from pipeline.table import TableLocation

    location = TableLocation.parse(str(table), options)
    plain = lancedb.connect(location.directory, storage_options=dict(location.options) or None)
    rows = plain.open_table(location.name).to_arrow()
    ids = rows["id"].to_pylist()
    assert len(set(ids)) == len(ids), "an id is in the table twice"
    rejects = VectorTable.open(str(table), options).rejects().to_pylist()
    held = [(_name(row["source"]), row["row"]) for row in rows.select(["source", "row"]).to_pylist()]
    refused = [(_name(row["source"]), row["row"]) for row in rejects]
    assert len(set(held)) == len(held), "a row is in the table twice"
    assert len(set(refused)) == len(refused), "a row is rejected twice"
    both = set(held) & set(refused)
    told = [row for row in rejects if (_name(row["source"]), row["row"]) in both]
    assert not both, ("a row is both", told, VectorTable.open(str(table), options).runs().to_pylist())
    assert set(held) | set(refused) == everything, (everything - set(held) - set(refused), len(held), len(refused))
    distinct_in_every_version(location)
    return rows.num_rows, rejects


def distinct_in_every_version(location):
    """Nobody could see anything twice, whenever they looked."""
    from pipeline.table.store import open_dataset

    newest = open_dataset(location)
    for version in newest.versions():
        rows = newest.checkout_version(version["version"]).to_table(columns=["id", "slice", "row"]).to_pylist()
        assert len({row["id"] for row in rows}) == len(rows), f"version {version['version']} has an id twice"
        assert len({(row["slice"], row["row"]) for row in rows}) == len(rows), (
            f"version {version['version']}: a row twice"
        )


def distinct(table, options=None):
    """At any moment: what can be seen is readable and nothing is there twice."""
    from pipeline.table import TableLocation
    from pipeline.table.store import open_dataset

    dataset = open_dataset(TableLocation.parse(str(table), options))
    if dataset is not None:
        ids = dataset.to_table(columns=["id"])["id"].to_pylist()
        assert len(set(ids)) == len(ids), "an id can be seen twice"


def _name(uri):
    return uri.rpartition("/")[2]
