"""``python tests/bench/planning.py``: what it takes to plan, and to resume, over a ledger of a million slices.

The ledger is a real table with a row for each slice and the input is real files: synthetic Parquet whose footers are
read, one row group of `ROWS_PER_FILE` rows each. Measured in a process of its own: loading the ledger, listing and
planning with nothing done, half done and all done; and the driver's peak memory. Floors: 60 s and 2 GB.
Writes ``tests/bench/results/planning-DATE.json``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from pipeline.corpus import ReaderOptions, list_sources, slice_ids
from pipeline.flow.options import SLICE_ROWS
from pipeline.flow.work import plan_work
from pipeline.spec import EmbeddingSpec
from pipeline.table import TableLocation, VectorTable

MEANING = {"semantics": 1, "checkpoint": "bench", "tokenizer": "bench"}
READER = {"slice_rows": SLICE_ROWS, "text": "text", "id": None, "keep": []}
FLOOR_SECONDS, FLOOR_BYTES = 60.0, 2e9


def make_corpus(folder: Path, files: int, slices: int) -> None:
    """`files` Parquet files that hold `slices` slices together: nulls cost next to nothing on disk."""
    folder.mkdir(parents=True)
    rows = pa.table({"text": pa.nulls(SLICE_ROWS * slices // files, pa.string())})
    pq.write_table(rows, folder / "00000.parquet", row_group_size=len(rows))
    content = (folder / "00000.parquet").read_bytes()
    for number in range(1, files):
        (folder / f"{number:05}.parquet").write_bytes(content)


def make_table(uri: str, done: np.ndarray) -> None:
    """A table whose ledger holds `done`: one row a slice, in fragments of 100,000 rows."""
    spec = EmbeddingSpec(model="bench", prompt="none", pooling="last", routing="scores", combine="sum", alpha=1.0)
    table = VectorTable.create(uri, spec=spec, meaning=MEANING, halves=(1, 1), reader=READER)
    for start in range(0, len(done), 100_000):
        part = done[start : start + 100_000]
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(2 * len(part), np.float16)), 2)
        numbers = pa.array(np.arange(start, start + len(part)))
        columns = {"id": numbers.cast(pa.string()), "vector": vectors, "slice": pa.array(part), "row": numbers}
        schema = table.dataset().schema
        whole = [columns.get(field.name, pa.nulls(len(part), field.type)) for field in schema]
        lance.write_dataset(pa.Table.from_arrays(whole, schema=schema), table.location.uri, mode="append")


def measure(corpus: str, uri: str, answers: multiprocessing.Queue) -> None:
    """Plan as a run does, in this process; seconds and peak memory go into `answers`."""
    import psutil

    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    location = TableLocation.parse(uri)
    work = plan_work([corpus], location, VectorTable.open(location), ReaderOptions(slice_rows=SLICE_ROWS))
    ready = time.perf_counter() - began
    size = work.units.size()
    assert size is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answers.put({
        "ledger_and_listing_seconds": ready,
        "planning_seconds": time.perf_counter() - began - ready,
        "peak_bytes": peak,
        "grown_bytes": peak - before,
        "units": size.units,
        "slices_left": size.slices,
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder, "corpus")
        make_corpus(corpus, given.files, given.slices)
        options = ReaderOptions(text="text", slice_rows=SLICE_ROWS)
        rows = SLICE_ROWS * (given.slices // given.files)
        ids = np.concatenate([
            slice_ids(file.uri, file.version, np.arange(0, rows, SLICE_ROWS), options)
            for file in list_sources([str(corpus)])
        ])  # fmt: skip
        for name, share in (("nothing done", 0.0), ("half done", 0.5), ("all done", 1.0)):
            uri = str(Path(folder, "lake", name.replace(" ", "-")))
            make_table(uri, np.random.default_rng(0).permutation(ids)[: int(share * len(ids))])
            context = multiprocessing.get_context("spawn")
            answers = context.Queue()
            process = context.Process(target=measure, args=(str(corpus), uri, answers))
            process.start()
            results[name] = answers.get(timeout=600)
            process.join()
    report(given, results)


def report(given: argparse.Namespace, results: dict[str, dict[str, float]]) -> None:
    view = Table(box=None)
    for column in ("ledger", "load, list s", "plan s", "peak MB", "grown MB", "units", "slices left"):
        view.add_column(column, justify="right")
    for name, each in results.items():
        seconds = (f"{each['ledger_and_listing_seconds']:.1f}", f"{each['planning_seconds']:.1f}")
        memory = (f"{each['peak_bytes'] / 1e6:,.0f}", f"{each['grown_bytes'] / 1e6:,.0f}")
        view.add_row(name, *seconds, *memory, f"{each['units']:,}", f"{each['slices_left']:,}")
    console = Console()
    console.print(f"{given.slices:,} slices in {given.files:,} files")
    console.print(view)
    worst = max(each["ledger_and_listing_seconds"] + each["planning_seconds"] for each in results.values())
    peak = max(each["peak_bytes"] for each in results.values())
    console.print(f"floors ({FLOOR_SECONDS:.0f} s, 2 GB): {worst:.1f} s, {peak / 1e9:.2f} GB")
    target = save("planning", {"machine": machine(), **vars(given), "results": results})
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
