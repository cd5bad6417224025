"""Random histories of a corpus and its table, where every write of the driver may be the last one of its run.

`embed` runs as it is, on any engine, with a replica that costs nothing (`tests/bench/stub.py`), and without leases,
since a driver that dies here leaves a living process. A death is raised where Lance is about to write, or has just
written, and nothing is cleaned up behind it. In one process a history takes a second or two.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from pathlib import Path

import lance
import lancedb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import VectorTable, embed
from pipeline.flow import job
from pipeline.table import TableLocation
from pipeline.table.commit.committer import Committer

IDS, WORDS, FILES = 30, 40, ("a.jsonl", "b.jsonl", "c.parquet", "d.parquet", "e.jsonl")


class DeathError(BaseException):
    """The process is gone."""


class NoLease(contextlib.nullcontext):
    waited = False

    def __init__(self, *_, **__):
        super().__init__(self)

    def check(self):
        pass


class Fate:
    """When the process dies: after so many more touches of Lance, None: it lives."""

    left = None

    def touch(self):
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise DeathError


def mortal(monkeypatch, fate):
    """Let what happens in this process die by `fate`."""
    for module in ("flow.embed", "table.upkeep"):
        monkeypatch.setattr(f"pipeline.{module}.Lease", NoLease)
    _make_mortal(monkeypatch, fate)


def _make_mortal(monkeypatch, fate):
    """Death comes at a write, and who is dead neither commits nor records anything."""

    def leave(self, kind, error, trace):
        return self._collector.stop() if kind is DeathError else original(self, kind, error, trace)

    def finish(*arguments, **fields):
        if not isinstance(sys.exc_info()[1], DeathError):
            finished(*arguments, **fields)

    original, finished = Committer.__exit__, job.finish_run
    monkeypatch.setattr(Committer, "__exit__", leave)
    monkeypatch.setattr(job, "finish_run", finish)
    writes = [(lance.LanceDataset, "commit"), (lance.LanceDataset, "delete"), (lance.LanceDataset, "update_config")]
    for owner, name in [*writes, (sys.modules["lance.dataset"].MergeInsertBuilder, "execute")]:
        monkeypatch.setattr(owner, name, _deadly(owner.__dict__[name], fate))


def _deadly(method, fate):
    function = method.__func__ if isinstance(method, staticmethod) else method

    def call(*arguments, **fields):
        fate.touch()
        result = function(*arguments, **fields)
        fate.touch()
        return result

    return staticmethod(call) if isinstance(method, staticmethod) else call


class History:
    """One corpus, one table, and what has become of them, step by step; `seed` decides all of it."""

    def __init__(self, folder, spec, seed, fate, engine):
        self.random, self.spec, self.fate, self.engine = random.Random(seed), spec, fate, engine
        self.corpus, self.table = Path(folder) / "corpus", str(Path(folder) / "lake" / "docs")
        self.corpus.mkdir(parents=True)
        self.files, self.deleted, self.doubtful, self.log, self.clock = {}, set(), set(), [], 10**18

    def bounds(self):
        """Small slices and units; the ways in which large tables and exchanges are treated."""
        choose = self.random.choice
        return {
            "pipeline.flow.options.SLICE_ROWS": choose([2, 4, 8]),
            "pipeline.flow.plan.MAX_ROWS": choose([4, 8, 64]),
            "pipeline.table.commit.committer.MAX_FRAGMENTS": choose([0, 3, 5000]),
            "pipeline.table.commit.collector.SPACING": choose([0.0, 0.0, 9.0]),
            "pipeline.table.changes.replacement.MAX_WAITING_SLICES": choose([1, 4, 8192]),
        }

    def run(self):
        """Some changes, some runs; now and then, and at the end, one to which nothing happens, and a look at it all."""
        for _ in range(self.random.randrange(6, 25)):
            self.step()
            if self.random.random() < 0.15:
                self.settle()
        self.settle()

    def step(self):
        names, there = sorted(self.files), Path(f"{self.table}.lance").exists()
        steps = [self.write, self.embed]
        if names:
            steps += [self.edit, self.edit, self.move, self.embed, self.embed, self.remove, self.rename]
        if there:
            steps += [self.delete, self.tidy]
        self.random.choice(steps)()

    def write(self):
        self.put(self.random.choice(FILES), [self.row() for _ in range(self.random.choice([0, 1, 3, 9, 14]))])

    def edit(self):
        name = self.random.choice(sorted(self.files))
        rows = list(self.files[name])
        for _ in range(self.random.randrange(1, 4)):
            at, how = self.random.randrange(len(rows) + 1), self.random.random()
            rows[at : at + (how < 0.7)] = [self.row()] if how > 0.2 else []
        self.put(name, rows)

    def move(self):
        one, other = self.random.choice(sorted(self.files)), self.random.choice(sorted(self.files))
        if one != other:
            cut, rows = self.random.randrange(len(self.files[one]) + 1), self.files[one]
            self.put(one, rows[cut:])
            self.put(other, [*self.files[other], *rows[:cut]])

    def remove(self):
        name = self.random.choice(sorted(self.files))
        (self.corpus / name).unlink()
        self.log.append(("remove", name, self.files.pop(name)))

    def rename(self):
        name = self.random.choice(sorted(self.files))
        other = self.random.choice([each for each in FILES if each.endswith(name.partition(".")[2])])
        if other != name:
            rows = self.files.pop(name)
            (self.corpus / name).unlink()
            self.put(other, rows)

    def delete(self):
        ids = {f"d{self.random.randrange(IDS)}" for _ in range(2)}
        self.doubtful |= ids
        with self.mortal("delete", sorted(ids)):
            table = VectorTable.open(self.table)
            there = set(table.dataset().to_table(columns=["id"]).column(0).to_pylist())
            table.delete(sorted(ids))
            self.deleted |= ids & there
            self.doubtful -= ids - there - self.deleted

    def tidy(self):
        with self.mortal("tidy"):
            self.random.choice([lambda table: table.index(min_bytes=10**18), lambda table: table.clean(0.0)])(
                VectorTable.open(self.table)
            )

    def embed(self):
        if not self.is_readable:
            return
        choices = [
            ("limit", self.random.choice([1, 4, 10]), 0.3),
            ("prune", True, 0.3),
            ("dedup", True, 0.2),
            ("drop_duplicates", True, 0.25),
            ("retry_rejects", True, 0.25),
        ]
        options = {name: value for name, value, chance in choices if self.random.random() < chance}
        options["commit_rows"] = self.random.choice([1, 6, 10**6])
        filled = sorted(name for name, rows in self.files.items() if rows)
        some = self.random.sample(filled, self.random.randrange(len(filled) + 1)) if self.random.random() < 0.25 else []
        sources = [str(self.corpus / name) for name in some] or str(self.corpus)
        with self.mortal("embed", sources, options):
            self.log.append(
                embed(sources, self.table, self.spec, commit_seconds=1e6, engine=self.engine, **options).summary()
            )

    def settle(self):
        """A run that nothing happens to; then nothing is left to do, and every row is accounted for."""
        if self.is_readable:
            self.log.append(("settle",))
            embed(str(self.corpus), self.table, self.spec, commit_seconds=1e6, engine=self.engine)
            assert embed(str(self.corpus), self.table).nothing_to_do, "a run that ended well left something to do"
            self.check()

    @property
    def is_readable(self):
        """A first run needs something by which to know the columns."""
        return any(self.files.values()) or (self.files and Path(f"{self.table}.lance").exists())

    def check(self):
        location = TableLocation.parse(self.table)
        rows = lancedb.connect(location.directory).open_table(location.name).to_arrow().to_pylist()
        rejects = VectorTable.open(self.table).rejects().to_pylist()
        ids = {row["id"] for row in rows}
        assert len(ids) == len(rows), "an id is there twice"
        assert not ids & self.deleted, "a deleted document came back"
        held = {(Path(row["source"]).name, row["row"]): row for row in rows}
        refused = {(Path(row["source"]).name, row["row"]): row for row in rejects}
        assert len(refused) == len(rejects), "a row was rejected twice"
        both = {place for place in held.keys() & refused.keys() if held[place]["id"] not in self.doubtful}
        assert not both, f"accepted and rejected: {both}"
        for name, content in self.files.items():
            found = {row for file, row in held.keys() | refused.keys() if file == name}
            left = {row for row, (identity, _) in enumerate(content) if identity in self.deleted | self.doubtful}
            missing = set(range(len(content))) - found
            assert found <= set(range(len(content))), f"{name}: {len(content)} rows, but {sorted(found)}"
            assert missing <= left, f"{name}: rows {sorted(missing - left)} are neither held nor rejected"
            for row, (identity, text) in enumerate(content):
                there = held.get((name, row))
                assert there is None or (there["id"], there["text"]) == (identity, text), f"{name}:{row} is {there}"
        for (name, row), reject in refused.items():
            if name in self.files and reject["reason"] == "duplicate id":
                gone = self.deleted | self.doubtful
                assert reject["id"] in ids | gone, f"{name}:{row} is the duplicate of nobody: {reject}"

    @contextlib.contextmanager
    def mortal(self, *what):
        """What happens inside may be cut off, by death or by Ctrl-C."""
        self.fate.left = self.random.randrange(40) if self.random.random() < 0.4 else None
        self.log.append((*what, self.fate.left))
        try:
            yield
        except DeathError:
            self.log.append("died")
        finally:
            self.fate.left = None

    def row(self):
        identity = f"d{self.random.randrange(IDS)}"
        return identity, "" if self.random.random() < 0.05 else f"w{self.random.randrange(WORDS)}"

    def put(self, name, rows):
        """Write a file, at a time of its own."""
        path = self.corpus / name
        if name.endswith("jsonl"):
            path.write_text("".join(json.dumps({"id": one, "text": text}) + "\n" for one, text in rows))
        else:
            columns = {key: pa.array([row[at] for row in rows], pa.string()) for at, key in enumerate(("id", "text"))}
            pq.write_table(pa.table(columns), path, row_group_size=6)
        self.clock += 1_000_003
        os.utime(path, ns=(self.clock, self.clock))
        self.files[name] = rows
        self.log.append(("put", name, rows))
