"""``make bench``: tokens per second of the encoder against stock transformers, same weights, same texts, one run.

    stock   headless model, grouped_mm experts, length-sorted padded batches of 8k tokens: the best that transformers
            does by itself, without reading any router
    ours    `Encoder.encode_raw`: packed sequences, padded expert groups, routers read, tokenizing included

The two take turns, so that a machine whose speed drifts drifts for both; ratios are what to quote. Texts are the
docstrings of the installed packages, weights the built-in model's. Writes ``tests/bench/results/encoder-DATE.json``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from pipeline import EmbeddingSpec, Encoder
from pipeline.corpus.docstrings import collect_docstrings
from pipeline.embedding.batches import plan_batches
from pipeline.models import locate
from pipeline.models.quiet import quiet_transformers
from pipeline.replica.packing import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.embedding.tokens import Tokens

BUDGET = 8192
RESULTS = Path(__file__).parent / "results"


def stock_run(model: torch.nn.Module, tokens: Tokens) -> None:
    """One pass of the stock model over all texts."""
    for rows in plan_batches(tokens.lengths, BUDGET, "padded"):
        batch = tokens.take(rows)
        inputs = lay_out(batch.ids, batch.lengths, layout="padded", pad=0, device=model.device)
        with torch.inference_mode():
            model(**inputs.kwargs)


def load_stock() -> torch.nn.Module:
    """The same weights, as transformers loads them."""
    from transformers import AutoModel

    with quiet_transformers():
        return AutoModel.from_pretrained(
            locate("mini").path, dtype=torch.bfloat16, experts_implementation="grouped_mm"
        ).eval()


def timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()

    texts = collect_docstrings(given.texts).column("text").to_pylist()
    encoder = Encoder(EmbeddingSpec(), device="cpu")
    tokens = encoder.tokenize(texts)
    total = int(tokens.lengths.sum())
    stock = load_stock()
    ways = {"stock": lambda: stock_run(stock, tokens), "ours": lambda: encoder.encode_raw(texts)}
    for run in ways.values():
        run()
    seconds = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, run in ways.items():
            seconds[name].append(timed(run))
    rates = {name: [total / value for value in values] for name, values in seconds.items()}
    ratios = np.array(seconds["stock"]) / np.array(seconds["ours"])

    view = Table(box=None)
    for column in ("way", "tokens/s (median)", "least", "most"):
        view.add_column(column, justify="right")
    for name, values in rates.items():
        view.add_row(name, *(f"{value:,.0f}" for value in (statistics.median(values), min(values), max(values))))
    console = Console()
    console.print(f"{len(texts):,} texts, {total:,} tokens, {given.rounds} rounds, {torch.get_num_threads()} threads")
    console.print(view)
    console.print(f"ours over stock: {np.median(ratios):.2f} (from {ratios.min():.2f} to {ratios.max():.2f})")

    now = datetime.now(UTC)
    record = {
        "date": now.isoformat(timespec="seconds"),
        "machine": {"cpu": platform.processor() or platform.machine(), "threads": torch.get_num_threads()},
        "torch": torch.__version__,
        "texts": len(texts),
        "tokens": total,
        "tokens_per_second": rates,
        "ours_over_stock": ratios.tolist(),
    }
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"encoder-{now:%Y%m%d-%H%M}.json"
    target.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
