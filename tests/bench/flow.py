"""``make bench-flow``: how fast the pipeline itself is, around the replica. Every part runs in a process of its own.

    stub     Parquet in, texts of ~200 characters, 256-d vectors from a stub replica whose tokenizer only splits words:
             documents/s of reading, checking, Ray, staging and committing
    mini-tok the same with the built-in model's tokenizer: what tokenizing on the readers costs
    memory   the stub over 100,000 and then 1,000,000 documents: the driver's largest resident memory
    ratio    tokens/s of ``embed`` with the built-in model over those of the bare encoder, same texts, both cores
    scaling  tokens/s of two replicas with one thread each over those of one replica with one thread

Rates are over the time from when the first replica takes up its first texts to the last commit; what passes before
(Ray, imports, calibration, loading) is reported as start-up; a second replica's loading is not.
Floors: 20,000 documents/s, ratio 0.9, scaling 1.7, memory ± 10 %.
Writes ``tests/bench/results/flow-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import stub
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table

from jobs.docstrings import collect_docstrings
from pipeline import EmbeddingSpec, Encoder, embed
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.engines.ray_engine import RayEngine
from pipeline.flow.progress import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.flow.engines.base import Engine

ENGINES = {"ray": RayEngine, "local": LocalEngine}
WORDS = 4096
FILES = 8


def vocabulary() -> list[str]:
    """Made-up words of 2 to 9 letters."""
    random = np.random.default_rng(0)
    return ["".join(map(chr, random.integers(97, 123, size))) for size in random.integers(2, 10, WORDS)]


def write_words(folder: Path, count: int) -> None:
    """`count` documents of about 200 characters in `FILES` Parquet files."""
    folder.mkdir(parents=True)
    random, words = np.random.default_rng(1), np.array(vocabulary())
    for number in range(FILES):
        rows = [" ".join(words[random.integers(0, WORDS, 31)]) for _ in range(count // FILES)]
        ids = [f"{number}-{row}" for row in range(len(rows))]
        pq.write_table(pa.table({"id": ids, "text": rows}), folder / f"{number}.parquet", row_group_size=32_768)


class Watch(Quiet):
    """Notes the driver's largest memory."""

    def __init__(self) -> None:
        self.peak = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self.peak = max(self.peak, process.memory_info().rss)
            time.sleep(0.2)


def run(corpus: Path, table: Path, **options: object) -> dict[str, float]:
    """One `embed`, in figures."""
    watch = Watch()
    report = embed(str(corpus), str(table), listener=watch, **options)
    streaming = report.seconds - report.startup_seconds
    return {
        "documents": report.documents,
        "documents_per_second": report.documents / streaming,
        "tokens_per_second": report.tokens / streaming,
        "startup_seconds": report.startup_seconds,
        "seconds": report.seconds,
        "driver_peak_bytes": watch.peak,
    }


def engine(given: argparse.Namespace, replicas: int = 1) -> Engine:
    """Ray's or this machine's."""
    return ENGINES[given.engine](Replicas(replicas, replicas))


def stub_part(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    write_words(folder / "corpus", given.documents)
    model = stub.checkpoint(folder / "model", vocabulary())
    return run(folder / "corpus", folder / "lake" / "docs", spec=model, engine=stub.planted(engine(given)))


def mini_tok_part(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    write_words(folder / "corpus", given.documents // 2)
    return run(folder / "corpus", folder / "lake" / "docs", engine=stub.planted(engine(given)))


def memory_part(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """The size is the first argument of the process: each has a driver of its own."""
    return stub_part(folder, given)


def texts_of(folder: Path, given: argparse.Namespace) -> list[str]:
    """Docstrings of the installed packages, or what ``--source`` holds; as one Parquet file too."""
    table = collect_docstrings(given.texts) if given.source is None else sampled(given.source, given.texts)
    table = table.select(["text"])
    (folder / "corpus").mkdir()
    pq.write_table(table, folder / "corpus" / "texts.parquet")
    return table.column("text").to_pylist()


def sampled(source: Path, count: int) -> pa.Table:
    """So many of a file's documents, at random."""
    table = pq.read_table(source, columns=["text"])
    return table.take(np.random.default_rng(0).permutation(table.num_rows)[:count])


def ratio_part(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    """The bare encoder before and after, in a process that is idle in between."""
    texts = texts_of(folder, given)
    encoder = Encoder(EmbeddingSpec(), device="cpu")
    tokens = int(encoder.tokenize(texts).lengths.sum())
    encoder.encode_raw(texts[:200])
    before = tokens / seconds_of(lambda: encoder.encode_raw(texts))
    through = run(folder / "corpus", calibrated(folder, "docs"), engine=engine(given))
    after = tokens / seconds_of(lambda: encoder.encode_raw(texts))
    bare = 2 / (1 / before + 1 / after)
    return {
        **through,
        "bare_tokens_per_second": bare,
        "bare_before_and_after": [before, after],
        "ratio": through["tokens_per_second"] / bare,
    }


def calibrated(folder: Path, name: str) -> Path:
    """A table that has its calibration: else a part of the texts were encoded before the clock starts."""
    first = folder / f"first-{name}.parquet"
    pq.write_table(pa.table({"text": [f"{name} {number}" for number in range(8)]}), first)
    embed(str(first), str(folder / "lake" / name))
    return folder / "lake" / name


def seconds_of(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def scaling_part(folder: Path, given: argparse.Namespace) -> dict[str, float]:
    texts_of(folder, given)
    one, two = (
        run(folder / "corpus", calibrated(folder, str(count)), engine=stub.on_one_thread(engine(given, count)))
        for count in (1, 2)
    )
    return {
        "one_tokens_per_second": one["tokens_per_second"],
        "two_tokens_per_second": two["tokens_per_second"],
        "scaling": two["tokens_per_second"] / one["tokens_per_second"],
    }


PARTS = {"stub": stub_part, "mini-tok": mini_tok_part, "memory": memory_part, "ratio": ratio_part,
         "scaling": scaling_part}  # fmt: skip


def in_a_process(part: str, given: argparse.Namespace, documents: int | None = None) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", part, "--documents", str(documents or given.documents)]
    command += [
        "--engine",
        given.engine,
        "--texts",
        str(given.texts),
        *(["--source", str(given.source)] if given.source else []),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env={**os.environ, "NO_COLOR": "1"})
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=400_000)
    parser.add_argument("--texts", type=int, default=6000)
    parser.add_argument("--source", type=Path, help="Parquet whose `text` is embedded instead of docstrings")
    parser.add_argument("--memory-sizes", type=int, nargs=2, default=(100_000, 1_000_000))
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--engine", choices=["ray", "local"], default="ray")
    parser.add_argument("--only", choices=PARTS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(PARTS[given.only](Path(folder), given)))  # noqa: T201 — the parent reads it
        return
    results: dict[str, object] = {}
    for part in given.parts:
        if part == "memory":
            small, large = (in_a_process(part, given, size) for size in given.memory_sizes)
            grown = large["driver_peak_bytes"] / small["driver_peak_bytes"] - 1
            results[part] = {"small": small, "large": large, "grown": grown}
        else:
            results[part] = in_a_process(part, given)
    show(given, results)


def show(given: argparse.Namespace, results: dict[str, dict]) -> None:
    view = Table(box=None)
    for column in ("part", "documents/s", "tokens/s", "start-up s", "driver MB", "result", "floor"):
        view.add_column(column, justify="right")
    for part, each in results.items():
        rows = [each["small"], each["large"]] if part == "memory" else [each]
        for row in rows:
            what, floor = _verdict(part, row, each)
            figures = [row.get(name, 0) for name in ("documents_per_second", "tokens_per_second", "startup_seconds")]
            memory = row.get("driver_peak_bytes", 0) / 1e6
            view.add_row(part, *(f"{figure:,.1f}" for figure in figures), f"{memory:,.0f}", what, floor)
    console = Console()
    console.print(view)
    settings = {name: value for name, value in vars(given).items() if name not in {"only", "source"}}
    settings["source"] = given.source and given.source.name
    target = save("flow", {"machine": machine(), **settings, "results": results})
    console.print(f"kept in {target}")


def _verdict(part: str, row: dict, each: dict) -> tuple[str, str]:
    if part == "memory":
        return f"{row['documents']:,} documents, grown {each['grown']:+.0%}", "±10 %"
    if part in {"ratio", "scaling"}:
        return f"{row[part]:.2f}", "0.9" if part == "ratio" else "1.7"
    return "", "20,000" if part == "stub" else ""


if __name__ == "__main__":
    main()
