"""``python tests/bench/commits.py``: what a commit costs in a table of many fragments, by its steps.

Tables of 1k, 5k, 10k and 20k fragments (copies of one small file under names of their own) get commits of one fragment
through the real `Committer`. Medians of `--rounds`. Then, in the largest table:

- the share of the driver's time that commits take while rows arrive without a pause, at every size;
- a run under its lease while another program appends every second: it must end, and joins small fragments.

Writes ``tests/bench/results/commits-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lance
import numpy as np
import pyarrow as pa
from common import machine, save  # the folder of a script is on its path
from lance.fragment import FragmentMetadata
from rich.console import Console
from rich.table import Table

from pipeline.spec import EmbeddingSpec
from pipeline.table import Committer, VectorTable, stage
from pipeline.table.commit import committer as commit_module
from pipeline.table.companions.lease import Lease
from pipeline.table.companions.runs import new_run
from pipeline.table.upkeep import tidy

if TYPE_CHECKING:
    from collections.abc import Generator

SIZES = (1000, 5000, 10_000, 20_000)
MEANING = {"semantics": 1, "checkpoint": "bench", "tokenizer": "bench"}
DIM, ROWS = 256, 64


def rows(number: int) -> pa.Table:
    """One slice of `ROWS` rows with ids of their own."""
    vectors = np.random.default_rng(number).standard_normal((ROWS, DIM)).astype(np.float16)
    return pa.table({
        "id": [f"{number}-{row}" for row in range(ROWS)],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), DIM),
        "source": ["file:///bench"] * ROWS,
        "slice": pa.array(np.full(ROWS, number)),
        "row": pa.array(np.arange(ROWS)),
    })  # fmt: skip


def grow(table: VectorTable, fragments: int) -> None:
    """Bring the table to so many fragments, in one commit: copies of one file, so that ids repeat and rows do not."""
    dataset = table.dataset()
    there = len(dataset.get_fragments())
    staged = stage(table.location, rows(0))
    document = json.loads(staged.fragments[0])
    data, source = Path(table.location.uri, "data"), document["files"][0]["path"]
    copies = []
    for number in range(there, fragments):
        document["files"][0]["path"] = f"copy{number:06}-{source}"
        shutil.copyfile(data / source, data / document["files"][0]["path"])
        copies.append(FragmentMetadata.from_json(json.dumps(document)))
    lance.LanceDataset.commit(table.location.uri, lance.LanceOperation.Append(copies), dataset.version)


@contextmanager
def timed(seconds: dict[str, list[float]]) -> Generator[None]:
    """Note how long the steps of a commit take."""
    steps = {"open": "existing_dataset", "absorb": "absorb", "admit": "_admit"}
    owners = {"open": commit_module, "absorb": commit_module.Ledger, "admit": Committer}
    kept = {step: getattr(owners[step], name) for step, name in steps.items()}

    def watched(step, function):
        def run(*given, **named):
            began = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                seconds.setdefault(step, []).append(time.perf_counter() - began)

        return run

    swap = commit_module.swap
    for step, name in steps.items():
        setattr(owners[step], name, watched(step, kept[step]))
    commit_module.swap = watched("place", swap)
    try:
        yield
    finally:
        commit_module.swap = swap
        for step, name in steps.items():
            setattr(owners[step], name, kept[step])


def measure(table: VectorTable, fragments: int, rounds: int) -> dict[str, float]:
    """Medians in seconds, by step, and of the whole commit; the sum of a step's calls in each commit."""
    seconds: dict[str, list[float]] = {}
    with Committer(table.location, new_run(), max_rows=10**9, max_seconds=3600) as committer, timed(seconds):
        for number in range(rounds):
            committer.add(stage(table.location, rows(fragments * 1000 + number)))
            began = time.perf_counter()
            committer.flush()
            seconds.setdefault("whole", []).append(time.perf_counter() - began)
    result = {step: sum(values) / rounds for step, values in seconds.items() if step != "whole"}
    return {**result, "whole": statistics.median(seconds["whole"])}


def share(table: VectorTable, first: int, commits: int = 3) -> float:
    """The share of the driver's time that commits take, while rows arrive without a pause."""
    spent: list[float] = []
    committer = Committer(table.location, new_run(), max_rows=ROWS, max_seconds=3600)
    commit = committer._collector._commit

    def watched(*given):
        began = time.perf_counter()
        commit(*given)
        spent.append(time.perf_counter() - began)

    committer._collector._commit = watched
    number = first
    committer.add(stage(table.location, rows(number)))
    began, before = time.perf_counter(), len(spent)
    while len(spent) < before + commits:
        number += 1
        committer.add(stage(table.location, rows(number)))
    total = time.perf_counter() - began
    taken = sum(spent[before:])
    committer.close()
    return taken / total


def beside_a_rival(table: VectorTable, first: int) -> dict[str, float]:
    """Three commits under a lease while another program appends every second."""
    stopped, appended = threading.Event(), 0

    def append() -> None:
        nonlocal appended
        while not stopped.wait(1.0):
            rival = rows(first + 500 + appended).append_column("text", pa.nulls(ROWS, pa.string()))
            schema = lance.dataset(table.location.uri).schema
            missing = [name for name in schema.names if name not in rival.column_names]
            for name in missing:
                rival = rival.append_column(name, pa.nulls(ROWS, schema.field(name).type))
            lance.write_dataset(rival.select(schema.names).cast(schema), table.location.uri, mode="append")
            appended += 1

    before, began = len(table.dataset().get_fragments()), time.perf_counter()
    thread = threading.Thread(target=append)
    thread.start()
    try:
        run = new_run()
        with Lease(table.location, run) as lease:
            tidy(table.location, run)
            with Committer(table.location, run, lease=lease) as committer:
                for number in range(3):
                    committer.add(stage(table.location, rows(first + number)))
                    committer.flush()
    finally:
        stopped.set()
        thread.join()
    after = len(table.dataset().get_fragments())
    seconds = time.perf_counter() - began
    return {
        "commits": committer.totals.commits,
        "appended": appended,
        "before": before,
        "after": after,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    spec = EmbeddingSpec(model="bench", prompt="none", pooling="last", routing="scores", combine="sum", alpha=1.0)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        table = VectorTable.create(f"{folder}/lake/docs", spec=spec, meaning=MEANING, halves=(DIM // 2, DIM // 2))
        for size in given.sizes:
            grow(table, size)
            results[size] = {**measure(table, size, given.rounds), "share": share(table, size * 1000 + 100)}
        rival = beside_a_rival(table, given.sizes[-1] * 1000 + 200)
    show(given, results, rival)


def show(given: argparse.Namespace, results: dict[int, dict[str, float]], rival: dict[str, float]) -> None:
    view = Table(box=None)
    steps = ("whole", "open", "absorb", "admit", "place")
    for column in ("fragments", *(f"{step} ms" for step in steps), "share of time"):
        view.add_column(column, justify="right")
    for size, seconds in results.items():
        view.add_row(
            f"{size:,}", *(f"{1000 * seconds.get(step, 0):,.0f}" for step in steps), f"{100 * seconds['share']:.1f} %"
        )
    console = Console()
    console.print(view)
    console.print(
        f"beside a program that appends every second: {rival['commits']} commits in {rival['seconds']:.0f} s, "
        f"{rival['before']:,} fragments became {rival['after']:,}"
    )
    target = save("commits", {"machine": machine(), "rounds": given.rounds, "results": results, "rival": rival})
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
