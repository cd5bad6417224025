"""``python tests/bench/commits.py``: what a commit costs in a table of many fragments, by its steps.

Tables of 1k, 5k, 10k and 20k fragments (copies of one small file under names of their own) get commits of one fragment
through the real `Committer`; both ways of placing it are measured at every size. Medians of `--rounds`.
Writes ``tests/bench/results/commits-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
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
from pipeline.table.commit import swap as swap_module
from pipeline.table.companions.runs import new_run

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
    steps = {"open": "_open", "absorb": "absorb", "admit": "_admit"}
    owners = {"open": Committer, "absorb": commit_module.Ledger, "admit": Committer}
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


def measure(table: VectorTable, fragments: int, rounds: int) -> dict[str, dict[str, float]]:
    """Medians in seconds of both ways, by step, and of the whole commit; the sum of a step's calls in each commit."""
    result = {}
    for way, many in (("swap", 10**9), ("append", 0)):
        swap_module.MANY = many
        seconds: dict[str, list[float]] = {}
        with Committer(table.location, new_run(), max_rows=10**9, max_seconds=3600) as committer, timed(seconds):
            for number in range(rounds):
                staged = stage(table.location, rows(fragments * 1000 + 100 * (way == "swap") + number))
                committer.add(staged)
                began = time.perf_counter()
                committer.flush()
                seconds.setdefault("whole", []).append(time.perf_counter() - began)
        result[way] = {step: sum(values) / rounds for step, values in seconds.items() if step != "whole"}
        result[way]["whole"] = statistics.median(seconds["whole"])
    return result


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
            results[size] = measure(table, size, given.rounds)
    show(given, results)


def show(given: argparse.Namespace, results: dict[int, dict[str, dict[str, float]]]) -> None:
    view = Table(box=None)
    steps = ("whole", "open", "absorb", "admit", "place")
    for column in ("fragments", "way", *(f"{step} ms" for step in steps)):
        view.add_column(column, justify="right")
    for size, ways in results.items():
        for way, seconds in ways.items():
            view.add_row(f"{size:,}", way, *(f"{1000 * seconds.get(step, 0):,.0f}" for step in steps))
    console = Console()
    console.print(view)
    target = save("commits", {"machine": machine(), "rounds": given.rounds, "results": results})
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
