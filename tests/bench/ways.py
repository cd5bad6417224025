"""Four ways from the same tokens and the same random weights to hidden states and router scores.

authors  the published recipe: batches of 32 in input order, left padding, eager experts, language-model head, all
         hidden states kept
stock    the best that transformers does by itself: headless, grouped_mm experts, padded batches of 8k tokens,
         sorted by length
ours     `Encoder` in bfloat16
nf4      `Encoder` with 4-bit experts
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pipeline import EmbeddingSpec, Encoder
from pipeline.embedding.batches import plan_batches
from pipeline.models import locate
from pipeline.models.quiet import quiet_transformers
from pipeline.replica.forward.packing import lay_out

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from transformers import OlmoeConfig

    from pipeline.embedding.tokens import Tokens

__all__ = ["Shape", "make_checkpoint", "ways"]

STOCK_BUDGET = 8192
AUTHORS_BATCH = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """An OLMoE: `scaled` for CPUs, `full` is OLMoE-1B-7B's own."""

    layers: int
    hidden: int
    width: int
    heads: int
    experts: int
    top_k: int
    vocabulary: int

    @classmethod
    def scaled(cls) -> Shape:
        return cls(layers=8, hidden=512, width=256, heads=8, experts=32, top_k=4, vocabulary=14336)

    @classmethod
    def full(cls) -> Shape:
        return cls(layers=16, hidden=2048, width=1024, heads=16, experts=64, top_k=8, vocabulary=50304)

    def config(self) -> OlmoeConfig:
        from transformers import OlmoeConfig

        return OlmoeConfig(
            hidden_size=self.hidden,
            intermediate_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.heads,
            num_experts=self.experts,
            num_experts_per_tok=self.top_k,
            vocab_size=self.vocabulary,
            max_position_embeddings=4096,
            eos_token_id=None,
        )

    def operations(self, lengths: np.ndarray, *, narrowed: bool) -> float:
        """Multiplications and additions that texts of these lengths need, padding apart.

        2 × the active parameters of the layers for each token, and 4 × hidden for each token that a token sees, in
        each layer. `narrowed`: the last layer's router and experts run for one token of each text.
        """
        tokens, pairs = float(lengths.sum()), float((lengths * (lengths + 1) // 2).sum())
        attention = 2 * 4 * self.hidden**2
        block = 2 * (self.top_k * 3 * self.hidden * self.width + self.experts * self.hidden)
        last = len(lengths) if narrowed else tokens
        return self.layers * (attention * tokens + 4 * self.hidden * pairs) + block * (
            (self.layers - 1) * tokens + last
        )


def make_checkpoint(shape: Shape, folder: Path, device: torch.device) -> Path:
    """Random bfloat16 weights of that shape, with the built-in model's tokenizer."""
    from transformers import OlmoeForCausalLM

    torch.manual_seed(0)
    with quiet_transformers(), device:
        model = OlmoeForCausalLM._from_config(shape.config(), dtype=torch.bfloat16)
        model.save_pretrained(folder, max_shard_size="4GB")
    del model
    for file in locate("mini").path.glob("tokenizer*"):
        shutil.copy(file, folder)
    return folder


def ways(folder: Path, device: torch.device, names: list[str]) -> dict[str, Callable[[Tokens], object]]:
    """The ways by name, loaded."""
    made = {
        "authors": lambda: _authors(folder, device),
        "stock": lambda: _stock(folder, device, lambda lengths: plan_batches(lengths, STOCK_BUDGET, "padded")),
        "ours": lambda: encoder(folder, device).raw_of,
        "nf4": lambda: encoder(folder, device, "nf4").raw_of,
    }
    return {name: made[name]() for name in names}


def encoder(folder: Path, device: torch.device, quantization: str = "none") -> Encoder:
    return Encoder(EmbeddingSpec(model=str(folder), quantization=quantization), device=str(device))


def _authors(folder: Path, device: torch.device) -> Callable[[Tokens], object]:
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, experts_implementation="eager")
    model = model.to(device).eval()

    @torch.inference_mode()
    def run(tokens: Tokens) -> None:
        for start in range(0, len(tokens), AUTHORS_BATCH):
            batch = tokens.take(np.arange(start, min(start + AUTHORS_BATCH, len(tokens))))
            width = int(batch.lengths.max())
            mask = np.arange(width)[None, :] >= width - batch.lengths[:, None]
            ids = np.zeros(mask.shape, np.int64)
            ids[mask] = batch.ids
            out = model(
                input_ids=torch.from_numpy(ids).to(device),
                attention_mask=torch.from_numpy(mask.astype(np.int64)).to(device),
                output_hidden_states=True,
                output_router_logits=True,
            )
            out.hidden_states[-1][:, -1].float().cpu()
            torch.stack(out.router_logits).view(len(out.router_logits), len(batch.lengths), width, -1)[:, :, -1].cpu()

    return run


def _stock(
    folder: Path, device: torch.device, plan: Callable[[np.ndarray], list[np.ndarray]]
) -> Callable[[Tokens], object]:
    from transformers import AutoModel

    with quiet_transformers():
        model = AutoModel.from_pretrained(folder, dtype=torch.bfloat16, experts_implementation="grouped_mm")
    model = model.to(device).eval()

    @torch.inference_mode()
    def run(tokens: Tokens) -> None:
        for rows in plan(tokens.lengths):
            batch = tokens.take(rows)
            inputs = lay_out(batch.ids, batch.lengths, layout="padded", pad=0, device=device)
            states = model(**inputs.kwargs).last_hidden_state
            states[torch.arange(len(rows)), torch.from_numpy(batch.lengths - 1).to(device)].float().cpu()

    return run
