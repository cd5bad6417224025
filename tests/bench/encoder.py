"""``make bench``: tokens per second of the encoder against the authors' recipe and stock transformers, in one run.

`ways` says what is compared. All get the same random weights and the same tokens and take turns, so that a machine
whose speed drifts drifts for all: ratios, taken round by round, are what to quote. On CPUs the model is an OLMoE of 8
layers, hidden 512, 32 experts (top 4); on CUDA it has OLMoE-1B-7B's full shape. Three samples of texts: documents as
they come, titles (their first lines), and texts of exactly 512 tokens.

Texts are the docstrings of the installed packages, or the ``text`` column of ``--source FILE.parquet``. Writes
``tests/bench/results/encoder-DEVICE-DATE.json``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow.parquet as pq
import torch
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table
from ways import Shape, encoder, make_checkpoint, ways

from jobs.docstrings import collect_docstrings
from pipeline.embedding.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS = ["authors", "stock", "ours", "nf4"]
FULL = 512


def samples(source: Path | None, count: int, folder: Path) -> dict[str, Tokens]:
    """Tokens of the three samples, in the paper's own prompt."""
    if source is None:
        texts = collect_docstrings(4 * count).column("text").to_pylist()
    else:
        texts = [text for text in pq.read_table(source, columns=["text"]).column(0).to_pylist() if text.strip()]
    texts = [texts[at] for at in np.random.default_rng(0).permutation(len(texts))[:count]]
    titles = [next(line for line in text.splitlines() if line.strip())[:80] for text in texts]
    tokenize = encoder(folder, torch.device("cpu")).tokenize
    documents = tokenize(texts)
    full = np.full(max(int(documents.lengths.sum()) // FULL // 16, 1) * 16, FULL)
    ids = np.resize(documents.ids, full.sum())
    return {
        "documents": documents,
        "titles": tokenize(titles),
        "512 tokens": Tokens(ids, full, np.zeros_like(full), full, np.zeros(len(full), bool)),
    }


def peak_rate(device: torch.device) -> float:
    """The bfloat16 matrix-product rate of this moment, operations per second."""
    size = 8192 if device.type == "cuda" else 2048
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    repeats = 20 if device.type == "cuda" else 3
    return repeats * 2 * size**3 / seconds_of(lambda: [a @ a for _ in range(repeats)], device)


def seconds_of(run: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


class Peak:
    """Most memory in use while the context lasts, bytes above what was in use before: the device's, or the process's.

    A process keeps what it once had, so on CPUs the figure of a way holds what ways before it left behind unused.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self.bytes, self._done = device, 0, threading.Event()

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            self._before = self._resident()
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated()
            return
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, self._resident() - self._before)

    @staticmethod
    def _resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def compare(
    runs: dict[str, Callable[[Tokens], object]], tokens: Tokens, rounds: int, device: torch.device, shape: Shape
) -> dict[str, Any]:
    """Every way over one sample, in turns, after one round to warm up."""
    peaks = {}
    for name, run in runs.items():
        with Peak(device) as peak:
            run(tokens)
        peaks[name] = peak.bytes
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    rates: list[float] = []
    for _ in range(rounds):
        rates.append(peak_rate(device))
        for name, run in runs.items():
            seconds[name].append(seconds_of(lambda run=run: run(tokens), device))
    total = int(tokens.lengths.sum())
    return {
        "texts": len(tokens),
        "tokens": total,
        "matrix_products_per_second": rates,
        "ways": {
            name: {
                "tokens_per_second": [total / value for value in values],
                "documents_per_second": statistics.median(len(tokens) / value for value in values),
                "share_of_peak": statistics.median(
                    shape.operations(tokens.lengths, narrowed=name in {"ours", "nf4"}) / value / rate
                    for value, rate in zip(values, rates, strict=True)
                ),
                "memory": peaks[name],
            }
            for name, values in seconds.items()
        },
        "ours_over": {
            name: [other / mine for other, mine in zip(values, seconds["ours"], strict=True)]
            for name, values in seconds.items()
            if name != "ours"
        },
    }


def show(console: Console, sample: str, result: dict[str, Any]) -> None:
    view = Table(title=f"{sample}: {result['texts']:,} texts, {result['tokens']:,} tokens", box=None)
    for column in ("way", "tokens/s", "documents/s", "of peak", "memory", "ours is"):
        view.add_column(column, justify="right")
    for name, way in result["ways"].items():
        ratios = result["ours_over"].get(name)
        times = f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else ""
        view.add_row(
            name,
            f"{statistics.median(way['tokens_per_second']):,.0f}",
            f"{way['documents_per_second']:,.1f}",
            f"{way['share_of_peak']:.0%}",
            f"{way['memory'] / 2**20:,.0f} MiB",
            times,
        )
    console.print(view)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--texts", type=int, help="documents in the sample (default: 96, on CUDA 8,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    given = parser.parse_args()
    device = torch.device(given.device)
    on_gpu = device.type == "cuda"
    shape = Shape.full() if on_gpu else Shape.scaled()
    console = Console()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="moee-bench-") as folder:
        checkpoint = make_checkpoint(shape, Path(folder), device)
        parts = samples(given.source, given.texts or (8000 if on_gpu else 96), checkpoint)
        runs = ways(checkpoint, device, [*given.ways] if "ours" in given.ways else [*given.ways, "ours"])
        for sample, tokens in parts.items():
            results[sample] = compare(runs, tokens, given.rounds, device, shape)
            show(console, sample, results[sample])
    save(f"encoder-{device.type}", {"machine": machine(device), "rounds": given.rounds, "samples": results})


if __name__ == "__main__":
    main()
