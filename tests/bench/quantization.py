"""What quantized experts cost in quality and in speed: ``nf4`` and ``int8`` beside bfloat16 and float32.

For the built-in model and for a random OLMoE (8 layers, hidden 512, 32 experts of width 256, 4 chosen), on the same
texts: the cosine of each half (HS, RW) with what float32 and bfloat16 give, how many of the ten nearest neighbours
stay the same, and how many of the experts that the routers choose at the last token. Then tokens per second at
batches of 16k tokens, the ways in turns, by the clock and by the processor's time, which other processes disturb less.

The random weights keep the variance from layer to layer, so that experts weigh as much as attention does, and nothing
in them is redundant: a trained model loses less. Cosines and neighbours are those of standardized halves, which is
how a table holds them. Writes ``tests/bench/results/quantization-DATE.json``.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, save  # the folder of a script is on its path
from rich.console import Console
from rich.table import Table
from transformers import AutoModel, OlmoeConfig

from jobs.docstrings import collect_docstrings
from pipeline import EmbeddingSpec, Encoder
from pipeline.models import locate
from pipeline.models.quiet import quiet_transformers
from pipeline.replica.batch import TokenBatch

WAYS = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "int8": {"dtype": "bfloat16", "quantization": "int8"},
    "nf4": {"dtype": "bfloat16", "quantization": "nf4"},
}
NEIGHBOURS = 10
BATCH = (512, 32)
"""Tokens a sequence, sequences."""


def random_olmoe(folder: Path) -> str:
    """A random scaled-down OLMoE with the built-in model's tokenizer, saved in bfloat16.

    With transformers' own initialization the experts' share in the states would be 1 %.
    """
    config = OlmoeConfig(
        vocab_size=14336,
        hidden_size=512,
        intermediate_size=256,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=8,
        num_experts=32,
        num_experts_per_tok=4,
        pad_token_id=1,
        bos_token_id=None,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    with quiet_transformers():
        model = AutoModel.from_config(config, dtype=torch.bfloat16)
        for name, weight in model.named_parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=1.0 if "embed" in name else weight.shape[-1] ** -0.5)
        model.save_pretrained(folder)
    for file in locate("mini").path.glob("tokenizer*"):
        shutil.copy(file, folder)
    return str(folder)


def standardized(half: np.ndarray) -> np.ndarray:
    """Rows of unit length, [n, D], of which every column had mean 0 and deviation 1."""
    spread = half.std(axis=0)
    centred = (half - half.mean(axis=0)) / np.where(spread > 1e-6, spread, np.inf)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Mean share of common entries, row by row, of two [n, k] arrays of distinct integers."""
    return float(np.mean([(a[:, None] == b[None, :]).any(axis=1).mean() for a, b in zip(one, other, strict=True)]))


def neighbours(half: np.ndarray) -> np.ndarray:
    similar = standardized(half) @ standardized(half).T
    np.fill_diagonal(similar, -np.inf)
    return np.argsort(-similar, axis=1)[:, :NEIGHBOURS]


def compared(
    found: dict[str, np.ndarray], reference: dict[str, np.ndarray], layers: int, chosen: int
) -> dict[str, Any]:
    """Cosines and overlaps of one way's halves with those of a reference."""
    figures: dict[str, Any] = {}
    for name in ("HS", "RW"):
        one, other = found[name], reference[name]
        cosines = np.einsum("nd,nd->n", one, other) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
        centred = np.einsum("nd,nd->n", standardized(one), standardized(other))
        figures[f"{name} cosine"] = {"median": float(np.median(cosines)), "least": float(cosines.min())}
        figures[f"{name} standardized cosine"] = {"median": float(np.median(centred)), "least": float(centred.min())}
        figures[f"{name} neighbours"] = overlap(neighbours(one), neighbours(other))
    choices = [
        np.argsort(-half["RW"].reshape(len(half["RW"]) * layers, -1), axis=1)[:, :chosen] for half in (found, reference)
    ]
    figures["experts chosen"] = overlap(*choices)
    return figures


def speeds(encoders: dict[str, Encoder], rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Tokens per second of the clock and of the processor, of each way, round by round, in turns."""
    length, sequences = BATCH
    lengths = np.full(sequences, length, dtype=np.int64)
    ids = np.random.default_rng(0).integers(10, 14336, lengths.sum(), dtype=np.int32)
    batch = TokenBatch(ids, lengths, np.zeros_like(lengths), lengths)
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    for turn in range(rounds + 1):
        for name, encoder in encoders.items():
            clock, processor = time.perf_counter(), time.process_time()
            encoder._replica.forward(batch, "last")
            clock, processor = time.perf_counter() - clock, time.process_time() - processor
            if turn:
                rates[name].append((len(ids) / clock, len(ids) / processor))
    return rates


def measure(model: str, texts: list[str], rounds: int) -> dict[str, Any]:
    encoders = {name: Encoder(EmbeddingSpec(model=model, **fields), device="cpu") for name, fields in WAYS.items()}
    config = locate(model).config
    halves = {}
    for name, encoder in encoders.items():
        raw = encoder.encode_raw(texts)
        halves[name] = {"HS": raw.hidden_state, "RW": raw.routing_weights}
    layers, chosen = config["num_hidden_layers"], config["num_experts_per_tok"]
    quality = {
        f"{name} against {against}": compared(halves[name], halves[against], layers, chosen)
        for against in ("float32", "bfloat16")
        for name in halves
        if name not in {against, "float32"}
    }
    rates = speeds({name: encoder for name, encoder in encoders.items() if name != "float32"}, rounds)
    plain = np.array(rates["bfloat16"])
    return {
        "bytes": {name: {entry.kind: entry.stored for entry in encoder.weights} for name, encoder in encoders.items()},
        "quality": quality,
        "tokens_per_second": rates,
        "over_bfloat16": {name: np.median(np.array(values) / plain, axis=0).tolist() for name, values in rates.items()},
    }


def show(console: Console, name: str, figures: dict[str, Any]) -> None:
    view = Table(title=name, box=None)
    view.add_column("way", no_wrap=True)
    for column in ("HS cosine (least)", "RW cosine (least)", "HS nearest", "RW nearest", "experts chosen"):
        view.add_column(column, justify="right")
    for way, row in figures["quality"].items():
        cosines = [row[f"{half} standardized cosine"] for half in ("HS", "RW")]
        shares = [f"{row[key]:.3f}" for key in ("HS neighbours", "RW neighbours", "experts chosen")]
        view.add_row(way, *(f"{cosine['median']:.4f} ({cosine['least']:.4f})" for cosine in cosines), *shares)
    console.print(view)
    experts = {way: kinds["experts"] for way, kinds in figures["bytes"].items()}
    for way, (clock, processor) in figures["over_bfloat16"].items():
        rate = np.median(np.array(figures["tokens_per_second"][way]), axis=0)[0]
        console.print(
            f"{way}: expert bytes {experts[way] / experts['bfloat16']:.3f} of bfloat16's; {rate:,.0f} tokens/s, "
            f"{clock:.2f} of bfloat16's by the clock, {processor:.2f} by the processor's time"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    texts = collect_docstrings(given.texts).column("text").to_pylist()
    console = Console()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in {"mini": "mini", "random OLMoE": random_olmoe(Path(folder))}.items():
            figures[name] = measure(model, texts, given.rounds)
            show(console, name, figures[name])
    target = save("quantization", {"machine": machine(), "texts": len(texts), "models": figures})
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
