"""Drivers over a corpus of a few rows: what `embed`, `delete` and a pruning do to a table, without texts being encoded.

`embed` here is the order of `pipeline.flow.embed` and `pipeline.flow.work` on the same parts of `pipeline.table`; what
a plan leaves out, what is changed and what is tried again follow the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from pipeline.rejects import REJECTS
from pipeline.spec import EmbeddingSpec
from pipeline.table import Committer, Ledger, VectorTable, stage
from pipeline.table.changes.deletion import delete_documents
from pipeline.table.changes.pruning import prune
from pipeline.table.changes.retry import Retry, missing_originals
from pipeline.table.companions.files import begin_files, read_files
from pipeline.table.companions.journal import forget_files, read_journal, staged_files
from pipeline.table.fragments.orphans import orphans
from pipeline.table.store import open_dataset
from pipeline.table.upkeep import tidy

H, R = 2, 1
NEVER = 1e9
ROWS = pa.schema([("id", pa.string()), ("text", pa.string()), ("source", pa.string()), ("slice", pa.int64()),
                  ("row", pa.int64())])  # fmt: skip


class Lease:
    """Of a driver that cannot know that it has lost it: it slept."""

    def check(self):
        pass


@dataclass(frozen=True)
class File:
    """One version of an input file: its slices, each of which is a tuple of (id, text); no text: rejected."""

    uri: str
    version: str
    content: tuple

    @property
    def slices(self):
        return len(self.content)

    @property
    def rows(self):
        return sum(map(len, self.content))

    @property
    def numbers(self):
        return [number_of(self.uri, self.version, at) for at in range(self.slices)]

    @property
    def documents(self):
        """(slice, row) → (id, text)."""
        return {
            (number, row): document
            for number, rows in zip(self.numbers, self.content, strict=True)
            for row, document in enumerate(rows)
        }


def number_of(uri, version, at):
    return int.from_bytes(blake2b(f"{uri}|{version}|{at}".encode(), digest_size=4).digest(), "little")


def create(location):
    spec = EmbeddingSpec(model="lab", prompt="none", pooling="last", routing="scores", combine="sum", alpha=1.0)
    meaning = {"semantics": 1, "checkpoint": "lab", "tokenizer": "lab"}
    return VectorTable.create(location, spec=spec, meaning=meaning, halves=(H, R), reader={"slice_rows": 2})


@dataclass
class Plan:
    left: list
    """(file, number of a slice among the file's)."""
    files: list
    changed: dict
    reverted: list
    gone: list
    retry: Retry | None

    @property
    def is_empty(self):
        return not self.files and not self.gone


def plan(location, files, *, prunes=False, missing=None):
    """What a run over `files` has to do: the rules of `pipeline.flow.work`."""
    records, journal = read_files(location).to_pylist(), read_journal(location).to_pylist()
    begun = {(record["uri"], record["version"]) for record in records if record["run"]}
    ledger = Ledger.load(location, [file.uri for file in files if (file.uri, file.version) not in begun])
    complete = [file for file in files if (file.uri, file.version) in ledger.complete_files]
    retry = Retry.of(missing_originals(location) if missing is None else missing, ledger)
    again = set() if retry is None else set(retry.slices.tolist())
    left = [file for file in files if file not in complete or not again.isdisjoint(file.numbers)]
    changed = {f.uri: f.version for f in left if any(r["uri"] == f.uri and r["version"] != f.version for r in records)}
    done = set(ledger.done.tolist()) - again
    done |= {row["slice"] for row in journal if changed.get(row["uri"]) == row["version"]}
    known = {row["uri"] for row in records}
    return Plan(
        left=[(file, at) for file in left for at, number in enumerate(file.numbers) if number not in done],
        files=left,
        changed=changed,
        reverted=sorted({file.uri for file in complete} & {row["uri"] for row in journal}),
        gone=sorted(known - {file.uri for file in files}) if prunes else [],
        retry=retry,
    )


def embed(location, run, files, *, leased=True, prunes=False, backwards=False):
    """One run; each slice is a commit of its own. With nothing to do it takes no lease."""
    if plan(location, files, prunes=prunes).is_empty and not orphans(location, staged_files(location)):
        return
    if leased:
        tidy(location, run)
    todo = plan(location, files, prunes=prunes)
    if todo.gone:
        prune(location, todo.gone)
        todo = plan(location, files, prunes=prunes)
    if todo.files:
        _pass(location, run, todo, leased=leased, backwards=backwards)
        missing = missing_originals(location)
        second = plan(location, files, missing=missing)
        if second.retry is not None and second.left:
            second.changed, second.reverted = {}, []
            _pass(location, run, second, leased=leased, backwards=backwards)
    if leased:
        tidy(location, run)


def _pass(location, run, todo, *, leased, backwards):
    begin_files(location, [(file.uri, file.version) for file in todo.files], run)
    with Committer(
        location, run, max_rows=10**9, max_seconds=NEVER, slices_of=lambda file: file.numbers, changed=todo.changed,
        retry=todo.retry, lease=Lease() if leased else None,
    ) as committer:  # fmt: skip
        forget_files(location, todo.reverted)
        for file, at in sorted(todo.left, key=lambda each: each[1], reverse=backwards):
            rows, rejects = read(file, at)
            if todo.retry is not None:
                rows, rejects = todo.retry.only(rows), todo.retry.only(rejects)
            committer.add(stage(location, rows) if rows.num_rows else None, rejects)
            committer.flush()
        committer.add(None, None, todo.files)


def read(file, at):
    """What corpus and encoder make of a slice: rows, and rejects (REJECTS)."""
    number = file.numbers[at]
    rows = [
        {"id": name, "text": text, "source": file.uri, "slice": number, "row": row}
        for row, (name, text) in enumerate(file.content[at])
    ]
    good = pa.Table.from_pylist([row for row in rows if row["text"]], schema=ROWS)
    vectors = np.ones((good.num_rows, H + R), np.float16)
    why = {"stage": "check", "reason": "empty", "detail": ""}
    bad = pa.Table.from_pylist([{**row, **why} for row in rows if not row["text"]], schema=REJECTS)
    return good.append_column("vector", pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), H + R)), bad


def delete(location, ids):
    """`moee delete`, which takes no lease."""
    delete_documents(location, open_dataset(location), ids)


def rows_of(location, version=None):
    dataset = open_dataset(location)
    dataset = dataset if version is None else dataset.checkout_version(version)
    return dataset.to_table(columns=["id", "text", "source", "slice", "row"]).to_pylist()
