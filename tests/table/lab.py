"""A small corpus with every kind of trouble, and a driver that commits it; also run as a script, to be killed.

python lab.py TABLE [--exchange] [--die STEP N] [--die-after SECONDS] [--seed N] [--bundle N] [--wait FILE]
    [--pause SECONDS]
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.rejects import REJECTS
from pipeline.spec import EmbeddingSpec
from pipeline.table import Committer, TableLocation, VectorTable, stage, steps
from pipeline.table.commit import collector
from pipeline.table.companions.files import begin_files, read_files
from pipeline.table.companions.journal import read_journal

H, R = 5, 3
FILES, SLICES, ROWS = 3, 4, 8
MEANING = {"semantics": 1, "checkpoint": "lab", "tokenizer": "lab"}


@dataclass(frozen=True)
class Record:
    uri: str
    version: str = "1"
    slices: int = SLICES
    rows: int = SLICES * ROWS


def spec(**fields):
    given = {"model": "lab", "prompt": "none", "pooling": "last", "routing": "scores", "combine": "sum", "alpha": 2.5}
    return EmbeddingSpec(**{**given, **fields})


def create(uri, **options):
    return VectorTable.create(uri, spec=spec(), meaning=MEANING, halves=(H, R), reader={"slice_rows": ROWS}, **options)


def slice_number(file, number, version="1"):
    place = f"{file}|{number}|{version}".removesuffix("|1")
    return int.from_bytes(blake2b(place.encode(), digest_size=8).digest(), "little", signed=True)


def slices_of(record):
    return [slice_number(record.uri, number, record.version) for number in range(record.slices)]


def document(file, number, row):
    """(id, text): file 0 slice 1 is all empty; file 1 slice 2 repeats slice 1; some ids recur across files."""
    if (file, number) == (0, 1) or row == 5:
        return f"f{file}-s{number}-r{row}", " "
    if (file, number) == (1, 2):
        return f"f1-s1-r{row}", "again"
    if row == 2:
        return f"shared-{number}", f"shared by the files, here {file}"
    if row in {6, 7}:
        return f"f{file}-s{number}-twins", f"twin {row}"
    return f"f{file}-s{number}-r{row}", f"text {file} {number} {row}"


def all_slices():
    return [(file, number) for file in range(FILES) for number in range(SLICES)]


def expected_ids():
    documents = [document(file, number, row) for file, number in all_slices() for row in range(ROWS)]
    return {name for name, text in documents if text.strip()}


def vectors(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, H + R)).astype(np.float16)


def read(bundle):
    """What corpus and encoder make of some slices: rows, and rejects that depend on the bundle's composition."""
    rows, rejects, seen = [], [], set()
    for file, number in bundle:
        for row in range(ROWS):
            name, text = document(file, number, row)
            place = {"source": f"file:///lab/{file}", "slice": slice_number(f"file:///lab/{file}", number), "row": row}
            if not text.strip() or name in seen:
                why = {"stage": "check", "reason": "duplicate id" if text.strip() else "empty", "detail": ""}
                rejects.append({"id": name, **place, **why})
            else:
                seen.add(name)
                rows.append({"id": name, "text": text, **place})
    return as_rows(rows), as_rejects(rejects)


def as_rows(rows):
    table = pa.Table.from_pylist(
        rows,
        schema=pa.schema(
            [
                ("id", pa.string()),
                ("text", pa.string()),
                ("source", pa.string()),
                ("slice", pa.int64()),
                ("row", pa.int64()),
            ]
        ),
    )
    values = pa.FixedSizeListArray.from_arrays(pa.array(vectors(len(rows)).ravel()), H + R)
    return table.append_column("vector", values)


def as_rejects(rejects):
    return pa.Table.from_pylist(rejects, schema=REJECTS)


def drive(uri, *, run="lab", seed=0, bundle=2, pause=0.0, max_rows=20, unique_ids=False):
    """One run of the driver over whatever is not finished yet; returns the committer."""
    location = TableLocation.parse(uri)
    create(location)
    begin_files(location, [(f"file:///lab/{file}", "1") for file in range(FILES)], run)
    with Committer(
        location, run, max_rows=max_rows, max_seconds=60, slices_of=slices_of, unique_ids=unique_ids
    ) as committer:
        left = [place for place in all_slices() if not committer.ledger.are_done([number_of(place)])]
        order = np.random.default_rng(seed).permutation(len(left))
        bundles = [[left[at] for at in order[start : start + bundle]] for start in range(0, len(left), bundle)]
        for some in bundles:
            rows, rejects = read(some)
            staged = stage(location, rows)
            steps.reached("staged")
            files = [Record(f"file:///lab/{file}") for file, number in some if number == SLICES - 1]
            committer.add(staged, rejects, files)
            time.sleep(pause)
    return committer


def number_of(place):
    return slice_number(f"file:///lab/{place[0]}", place[1])


def assert_exactly_once(uri):
    """Each accepted document once in the table, each other one once in the rejects."""
    table = VectorTable.open(uri)
    rows = table.dataset().to_table(columns=["id", "slice", "row"]).to_pylist()
    rejects = table.rejects().to_pylist()
    held = [(row["slice"], row["row"]) for row in rows]
    refused = [(row["slice"], row["row"]) for row in rejects]
    everything = {(number_of(place), row) for place in all_slices() for row in range(ROWS)}
    assert sorted(row["id"] for row in rows) == sorted(expected_ids())
    assert len(set(refused)) == len(refused)
    assert len(set(held)) == len(held)
    assert not set(held) & set(refused)
    assert set(held) | set(refused) == everything


CHANGED, NEW_SLICES = (0, 1), 3
"""Files 0 and 1 become version 2, which is shorter."""


def new_document(file, number, row):
    """(id, text) in version 2: most ids recur with another text, row 2 is new, row 5 empty."""
    name = f"f{file}-s{number}-new" if row == 2 else f"f{file}-s{number}-r{row}"
    return name, " " if row == 5 else f"version 2, {file} {number} {row}"


def new_places():
    return [(file, number) for file in CHANGED for number in range(NEW_SLICES)]


def read_new(bundle):
    """What corpus and encoder make of some slices of version 2."""
    rows, rejects = [], []
    for file, number in bundle:
        uri = f"file:///lab/{file}"
        for row in range(ROWS):
            name, text = new_document(file, number, row)
            place = {"source": uri, "slice": slice_number(uri, number, "2"), "row": row}
            if text.strip():
                rows.append({"id": name, "text": text, **place})
            else:
                why = {"stage": "check", "reason": "empty", "detail": ""}
                rejects.append({"id": name, **place, **why})
    return as_rows(rows), as_rejects(rejects)


def exchange(uri, *, run="exchange", seed=0, bundle=2, pause=0.0, max_rows=20):
    """One run over files 0 and 1 in version 2; the committer, and how many slices had to be staged."""
    location = TableLocation.parse(uri)
    versions = {f"file:///lab/{file}": "2" for file in CHANGED}
    begin_files(location, versions.items(), run)
    with Committer(
        location, run, max_rows=max_rows, max_seconds=60, slices_of=slices_of, changed=versions
    ) as committer:
        there = {*committer.ledger.done.tolist(), *read_journal(location).column("slice").to_pylist()}
        left = [(f, n) for f, n in new_places() if slice_number(f"file:///lab/{f}", n, "2") not in there]
        order = np.random.default_rng(seed).permutation(len(left))
        for start in range(0, len(left), bundle):
            rows, rejects = read_new([left[at] for at in order[start : start + bundle]])
            staged = stage(location, rows)
            steps.reached("staged")
            committer.add(staged, rejects)
            time.sleep(pause)
        committer.add(None, None, [Record(uri, "2", NEW_SLICES, NEW_SLICES * ROWS) for uri in versions])
    return committer, len(left)


def versions_shown(uri):
    """For each version of the table and each changed file, the versions of the file that it shows; oldest first."""
    table = VectorTable.open(uri)
    new = {slice_number(f"file:///lab/{f}", n, "2"): f for f, n in new_places()}
    shown = []
    for version in table.versions:
        rows = table.dataset().checkout_version(version["version"]).to_table(columns=["source", "slice"]).to_pylist()
        shown.append({f"file:///lab/{f}": {"2" if row["slice"] in new else "1" for row in rows
                      if row["source"] == f"file:///lab/{f}"} for f in CHANGED})  # fmt: skip
    return shown


def assert_exchanged(uri):
    """Version 2 of the changed files is there, once and whole; nothing is left of version 1, nor in the journal."""
    table = VectorTable.open(uri)
    changed = [f"file:///lab/{file}" for file in CHANGED]
    rows = table.dataset().to_table(columns=["id", "text", "source", "slice", "row"]).to_pylist()
    rejects = [(row["source"], row["slice"], row["row"]) for row in table.rejects().to_pylist()]
    expected = {new_document(file, number, row) for file, number in new_places() for row in range(ROWS) if row != 5}
    assert len({row["id"] for row in rows}) == len(rows)
    assert sorted((row["id"], row["text"]) for row in rows if row["source"] in changed) == sorted(expected)
    assert sorted(place for place in rejects if place[0] in changed) == sorted(
        (f"file:///lab/{file}", slice_number(f"file:///lab/{file}", number, "2"), 5) for file, number in new_places()
    )
    kept = {(row["slice"], row["row"]) for row in rows if row["source"] not in changed}
    refused = {place[1:] for place in rejects if place[0] not in changed}
    assert not kept & refused
    assert len(kept | refused) == SLICES * ROWS
    files = read_files(table.location).to_pylist()
    assert sorted((row["uri"], row["version"], row["complete"]) for row in files) == [
        ("file:///lab/0", "2", True), ("file:///lab/1", "2", True), ("file:///lab/2", "1", True),
    ]  # fmt: skip
    assert read_journal(table.location).num_rows == 0
    assert all(len(versions) == 1 for version in versions_shown(uri) for versions in version.values() if versions)


def die_at(step, count):
    """Replace the protocol's step marker by one that kills this process the `count`-th time."""
    seen = 0

    def reached(name):
        nonlocal seen
        seen += name == step
        if seen == count and name == step:
            os.kill(os.getpid(), signal.SIGKILL)

    steps.reached = reached


def open_gate(gate, processes):
    """Let drivers go that were started with ``--wait GATE``, once all of them are there."""
    deadline = time.monotonic() + 120
    while not all(gate.with_suffix(f".{process.pid}").exists() for process in processes):
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.01)
    gate.touch()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--exchange", action="store_true")
    parser.add_argument("--die", nargs=2, metavar=("STEP", "N"))
    parser.add_argument("--die-after", type=float, default=0.0, help="seconds of processor time in the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=int, default=2)
    parser.add_argument("--max-rows", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--wait", type=Path)
    given = parser.parse_args()
    collector.SPACING = 0.0  # each of some commits is to be died in
    if given.die:
        die_at(given.die[0], int(given.die[1]))
    if given.wait:
        given.wait.with_suffix(f".{os.getpid()}").touch()
        while not given.wait.exists():
            time.sleep(0.005)
    signal.setitimer(signal.ITIMER_PROF, given.die_after)  # 0: never; else the kernel ends the process with SIGPROF
    if given.exchange:
        exchange(given.table, run=f"run-{given.seed}", seed=given.seed, bundle=given.bundle, pause=given.pause,
                 max_rows=given.max_rows)  # fmt: skip
        return
    drive(given.table, run=f"run-{given.seed}", seed=given.seed, bundle=given.bundle, pause=given.pause,
          max_rows=given.max_rows)  # fmt: skip


if __name__ == "__main__":
    main()
