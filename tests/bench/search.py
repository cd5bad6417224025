"""``make bench-search``: whether search finds what exact search finds, and how fast; on two idle cores.

    exact        search without an index, by rows and dimensions: where an index begins to pay
    table        `--rows` rows × 1,024 of `clusters.py`, after ``moee index`` with its own defaults: plain, at other α,
                 under filters; beside it the recall of the index's codes alone
    duplicates   the planted near copies of the same rows
    grown        the same rows in 50 commits, with upkeep after each, on an index that was built at the first
    mini         real texts (``NEWSGROUPS=FILE OPENSTAX=FILE``), embedded by the built-in model

Exact search is computed apart (`truth.py`); floors are in `search_view.py`. The whole takes about 25 minutes;
``--rows 50000`` a minute or two. Writes ``tests/bench/results/search-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from clusters import FILTERS, LEAST_COSINE, VALUES, Clusters, create, name_of, write  # its folder is on the path
from common import machine, save
from rich.console import Console
from search_view import ERROR, show
from truth import Setting, find_truth, measure, raw_recall

from pipeline.table import VectorTable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

QUERIES, COMMITS = 100, 50
ALPHAS = (0.0, 1.0, 4.0)
EXACT_ROWS, EXACT_DIMS = (10_000, 25_000, 50_000, 100_000), (256, 1024)


def unfiltered(queries: np.ndarray) -> list[Setting]:
    return [Setting("plain", queries), *(Setting(f"alpha {alpha:g}", queries, alpha) for alpha in ALPHAS)]


def filtered(queries: np.ndarray) -> list[Setting]:
    return [
        Setting(f"{share} pass", queries, column=column, values=VALUES[column]) for share, column in FILTERS.items()
    ]


def float_error(table: VectorTable, source: Clusters, setting: Setting) -> float:
    """The largest difference between a reported score and that of the float32 vectors, of hits in the first block."""
    block = source.made(0, min(source.block, table.count_rows())).vectors
    errors = [0.0]
    for query, vector in zip(setting.queries[:20], setting.asked(table)[:20], strict=True):
        hits = table.search(query, 200, alpha=setting.alpha)
        rows = np.array([int(name[1:]) for name in hits.column("id").to_pylist()])
        known = rows < len(block)
        exact = block[rows[known]] @ vector
        errors.append(float(np.abs(exact - hits.column("_score").to_numpy()[known]).max(initial=0.0)))
    return max(errors)


@contextmanager
def peak_memory(figures: dict[str, Any]) -> Generator[None]:
    """Note the largest resident memory of this process while the context lasts."""
    process, over, seen = psutil.Process(), threading.Event(), [0]

    def watch() -> None:
        while not over.wait(0.05):
            seen[0] = max(seen[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        figures["peak_bytes"] = seen[0]


def moee(*arguments: str) -> dict[str, Any]:
    """A command in a process of its own: seconds, peak memory, and what it says."""
    command = [sys.executable, "-m", "jobs.cli", *arguments, "--json"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return {
        "seconds": time.perf_counter() - began,
        "peak_bytes": usage.ru_maxrss * 1024,
        "said": {name: value for name, value in json.loads(said).items() if name != "table"},
    }


class Bench:
    """The rows, their truth, and the table that two parts share."""

    def __init__(self, given: argparse.Namespace, folder: Path) -> None:
        self.given, self.folder = given, folder
        self.source = Clusters(block=max(given.rows // COMMITS, 1))
        queries = self.source.queries(given.queries)
        self.plain, self.filtered = unfiltered(queries), filtered(queries)
        self.written: VectorTable | None = None
        self.write_seconds = 0.0

    def table(self) -> VectorTable:
        """The table of all rows, without indexes when it is first asked for."""
        if self.written is None:
            began = time.perf_counter()
            self.written = write(str(self.folder / "clusters"), self.source, self.given.rows)
            self.write_seconds = time.perf_counter() - began
            find_truth(self.written, [*self.plain, *self.filtered])
        return self.written


def exact_part(bench: Bench) -> dict[str, Any]:
    figures = {}
    for dim in EXACT_DIMS:
        for rows in (rows for rows in EXACT_ROWS if rows <= bench.given.rows):
            source = Clusters(dim)
            table = write(str(bench.folder / f"exact-{dim}-{rows}"), source, rows)
            asked = Setting("plain", source.queries(20))
            find_truth(table, [asked])
            figures[f"{rows:,} x {dim}"] = {"bytes": 2 * rows * dim, **measure(table, asked)}
    return figures


def table_part(bench: Bench) -> dict[str, Any]:
    table = bench.table()
    figures: dict[str, Any] = {"write_seconds": bench.write_seconds, "index": moee("index", str(table.location))}
    with peak_memory(figures):
        figures["settings"] = {setting.name: measure(table, setting) for setting in [*bench.plain, *bench.filtered]}
    figures["check"] = moee("index", str(table.location), "--check")
    figures["raw"] = {setting.name: raw_recall(table, setting) for setting in bench.plain}
    figures["float_error"] = {setting.name: float_error(table, bench.source, setting) for setting in bench.plain}
    return figures


def duplicates_part(bench: Bench) -> dict[str, Any]:
    table, figures = bench.table(), {}
    began = time.perf_counter()
    with peak_memory(figures):
        found = table.duplicates(LEAST_COSINE)
    seconds = time.perf_counter() - began
    pairs = set(zip(found.column("a").to_pylist(), found.column("b").to_pylist(), strict=True))
    planted = planted_pairs(bench)
    return {
        **figures,
        "seconds": seconds,
        "pairs": len(pairs),
        "planted": len(planted),
        "recall": len(planted & pairs) / max(len(planted), 1),
    }


def planted_pairs(bench: Bench) -> set[tuple[str, str]]:
    """Near copies, of which a little is lost in float16: those whose score is the least that is asked for."""
    first = bench.source.made(0, bench.source.block).vectors
    pairs = set()
    for block in bench.source.blocks(bench.given.rows):
        copies = block.vectors[len(block.vectors) - len(block.originals) :]
        cosines = (copies * first[block.originals]).sum(axis=1)
        for original, copy, cosine in zip(block.originals, block.copies, cosines, strict=True):
            if cosine >= LEAST_COSINE + ERROR:
                pairs.add((name_of(original), name_of(copy)))
    return pairs


def grown_part(bench: Bench) -> dict[str, Any]:
    """Commit by commit; the truth is that of the whole table, whose rows these are."""
    from pipeline.table.indexes.upkeep import refresh_indexes

    bench.table()
    table = create(str(bench.folder / "grown"), bench.source.dim)
    adding, keeping = [], []
    for block in bench.source.blocks(bench.given.rows):
        began = time.perf_counter()
        table.add(block.ids, block.vectors, metadata=block.metadata)
        added = time.perf_counter()
        if block.first == 0:
            table.index(min_bytes=0)
        else:
            refresh_indexes(table.location, table.dataset())
            keeping.append(time.perf_counter() - added)
        adding.append(added - began)
    figures = {"adding_seconds": sum(adding), "upkeep_seconds": sum(keeping), "longest_upkeep_seconds": max(keeping)}
    figures["settings"] = {setting.name: measure(table, setting) for setting in [*bench.plain, *bench.filtered]}
    return figures


def mini_part(bench: Bench) -> dict[str, Any]:
    given = {"newsgroups": bench.given.newsgroups, "openstax": bench.given.openstax}
    return {name: real_texts(bench, Path(file), name) for name, file in given.items() if file}


def real_texts(bench: Bench, file: Path, name: str) -> dict[str, Any]:
    """All but some documents, embedded by the built-in model; these are the queries."""
    from pipeline import embed

    documents = pq.read_table(file, columns=["id", "text"])
    documents = documents.filter(pc.greater(pc.utf8_length(documents.column("text")), 200))
    held_out = np.zeros(len(documents), bool)
    held_out[:: max(len(documents) // bench.given.queries, 1)] = True
    uri = str(Path(bench.given.tables or bench.folder) / f"mini-{name}")
    if not Path(f"{uri}.lance").exists():
        pq.write_table(documents.filter(pa.array(~held_out)), bench.folder / f"{name}.parquet")
        embed(str(bench.folder / f"{name}.parquet"), uri)
    table = VectorTable.open(uri)
    index = moee("index", uri)
    queries = table.encoder.encode_query(documents.filter(pa.array(held_out)).column("text").to_pylist())
    asked = unfiltered(np.asarray(queries))
    find_truth(table, asked)
    defaults = {setting.name: measure(table, setting) for setting in asked}
    table.index(min_bytes=0)
    indexed = {f"{setting.name}, index": measure(table, setting) for setting in asked}
    return {"rows": table.count_rows(), "dim": table.dim, "index": index, "settings": {**defaults, **indexed}}


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "exact": exact_part,
    "table": table_part,
    "duplicates": duplicates_part,
    "grown": grown_part,
    "mini": mini_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--newsgroups", metavar="FILE", help="Parquet of id and text")
    parser.add_argument("--openstax", metavar="FILE", help="Parquet of id and text")
    parser.add_argument("--tables", metavar="DIR", help="keep the embedded texts here, and find them again")
    parser.add_argument("--scratch", help="where the tables are written (the system's folder of temporary files)")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.scratch))
    results = {}
    try:
        bench = Bench(given, folder)
        for part in given.parts:
            began = time.perf_counter()
            results[part] = PARTS[part](bench)
            Console(stderr=True).print(f"{part}: {time.perf_counter() - began:,.0f} s", highlight=False)
    finally:
        shutil.rmtree(folder)
    show(results)
    target = save("search", {"machine": machine(), "rows": given.rows, "queries": given.queries, "results": results})
    Console().print(f"kept in {target}")


if __name__ == "__main__":
    main()
