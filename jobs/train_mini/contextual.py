"""Stage two: attention, experts and routers learn on top of the static token vectors.

Four losses, one forward:

- *hidden*: a passage's pooled state finds the static vector of the rest of its document among
  those of a thousand others. Static vectors cost nothing, so a batch of 64 passages has the
  negatives of a batch of a thousand documents.
- *router*: passages are as similar by their mean router scores as the rests of their documents
  are by static vectors. Without it the routers carry little (trials: P@10 .31 against .45).
- *next token*: through the tied head, on a quarter of the positions.
- *balance*: the Switch loss, layer by layer, that keeps all experts in use.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional

from .corpus import Stream, draw_starts
from .model import FILLER, build, embed_static
from .static import bag_means, standardize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from transformers import OlmoeModel

Floats = npt.NDArray[np.float32]

EMBEDDINGS = "embed_tokens.weight"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ContextualRecipe:
    """Choices made on the held-out posts."""

    steps: int = 550
    cosine_steps: int = 800
    cooldown_from: int = 250  # where the machine's slowness made us cut the cosine short; see the card
    tokens: int = 8192
    lengths: tuple[int, ...] = (32, 64, 128, 256)
    length_shares: tuple[float, ...] = (0.1, 0.25, 0.35, 0.3)
    newsgroup_share: float = 0.7
    bank: int = 1024
    temperature: float = 0.2
    router_temperature: float = 0.25  # at 0.1 the sibling passage is nearly all of the target
    hidden_weight: float = 1.0
    router_weight: float = 0.5
    next_token_weight: float = 0.1
    balance_weight: float = 0.5  # 0.05 left experts at .04 of their fair share: the scores are flat
    learning_rate: float = 1e-3
    embedding_rate: float = 1e-4
    warmup: int = 30
    weight_decay: float = 0.01
    seed: int = 0


@dataclass(frozen=True)
class Batch:
    """Two passages of each document: rows i and i + n are of one document."""

    ids: torch.Tensor  # [2n, length]
    targets: torch.Tensor  # [2n, static width]: the rest of the document, standardized
    negatives: torch.Tensor  # [bank, static width]: other documents, standardized


class Bank:
    """Static vectors of all documents of one source, standardized by that source's statistics."""

    def __init__(self, vectors: Floats, stream: Stream) -> None:
        self.stream = stream
        self.tokens = torch.from_numpy(vectors)
        means = bag_means(self.tokens, [stream.document(index) for index in range(len(stream))])
        self.mean, self.std = means.mean(dim=0), means.std(dim=0) + 1e-6
        self.documents = self.scale(means)

    def scale(self, means: torch.Tensor) -> torch.Tensor:
        """z-score by the source's statistics, unit length."""
        return functional.normalize((means - self.mean) / self.std, dim=1)

    def draw(self, length: int, count: int, negatives: int, rng: np.random.Generator) -> Batch:
        """Passages of exactly `length`: no padding, and few shapes for oneDNN to build kernels for."""
        candidates = np.flatnonzero(self.stream.lengths >= 2 * length + 16)
        picks = rng.choice(candidates, size=min(count, len(candidates)), replace=False)
        passages: list[list[npt.NDArray[np.int32]]] = [[], []]
        rests: list[list[npt.NDArray[np.int32]]] = [[], []]
        for index in picks:
            document = self.stream.document(int(index))
            for side, start in enumerate(draw_starts(len(document), length, rng)):
                passages[side].append(document[start : start + length])
                rests[side].append(np.delete(document, slice(start, start + length)))
        others = np.setdiff1d(rng.choice(len(self.stream), size=negatives, replace=False), picks)
        return Batch(
            torch.from_numpy(np.stack(passages[0] + passages[1])).long(),
            self.scale(bag_means(self.tokens, rests[0] + rests[1])),
            self.documents[torch.from_numpy(others)],
        )


class Trainer:
    """float32 weights and Adam moments; the model that computes holds a bf16 copy of the weights."""

    def __init__(self, vectors: Floats, streams: Sequence[Stream], recipe: ContextualRecipe) -> None:
        self.recipe = recipe
        self.banks = [Bank(vectors, stream) for stream in streams]
        self.width = vectors.shape[1]
        self.model = build(len(vectors), recipe.seed).bfloat16()
        self.model.config.use_cache = False
        self.model.train()
        self.weights = {
            name: torch.nn.Parameter(value.detach().float()) for name, value in self.model.named_parameters()
        }
        self.weights[EMBEDDINGS] = torch.nn.Parameter(torch.from_numpy(embed_static(vectors)))
        self.optimizer = self._make_optimizer()
        self.step = 0

    def _make_optimizer(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        rest = {name: value for name, value in self.weights.items() if name != EMBEDDINGS}
        groups = [
            {"params": [self.weights[EMBEDDINGS]], "peak": recipe.embedding_rate, "weight_decay": 0.0},
            {"params": [v for v in rest.values() if v.dim() > 1], "peak": recipe.learning_rate},
            {"params": [v for v in rest.values() if v.dim() == 1], "peak": recipe.learning_rate, "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            groups, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True
        )

    def run(self, checkpoint: Path, every: int = 50) -> dict[str, torch.Tensor]:
        """Train to the end, from `checkpoint` where there is one. Returns float32 weights by name."""
        if checkpoint.exists():
            self.load(checkpoint)
        began, seen = time.monotonic(), 0
        while self.step < self.recipe.steps:
            batch = self._draw()
            losses = self._update(batch)
            seen += batch.ids.numel()
            if self.step % 10 == 0 or self.step == self.recipe.steps - 1:
                figures = " ".join(f"{name} {value:.3f}" for name, value in losses.items())
                rate = seen / (time.monotonic() - began)
                logger.info("step %d %s tokens/s %.0f", self.step, figures, rate)
            self.step += 1
            if self.step % every == 0 or self.step == self.recipe.steps:
                self.save(checkpoint)
        return {name: value.detach() for name, value in self.weights.items()}

    def _draw(self) -> Batch:
        """Every step has its own random generator, so that a resumed run draws what it would have drawn."""
        recipe = self.recipe
        rng = np.random.default_rng((recipe.seed, self.step))
        torch.manual_seed(recipe.seed + self.step)
        length = int(rng.choice(recipe.lengths, p=recipe.length_shares))
        bank = self.banks[0 if rng.random() < recipe.newsgroup_share else 1]
        return bank.draw(length, recipe.tokens // (2 * length), recipe.bank, rng)

    def _update(self, batch: Batch) -> dict[str, float]:
        self._copy_weights()
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * self._schedule()
        losses = self._losses(batch)
        recipe = self.recipe
        total = (
            recipe.hidden_weight * losses["hidden"]
            + recipe.router_weight * losses["router"]
            + recipe.next_token_weight * losses["next_token"]
            + recipe.balance_weight * losses["balance"]
        )
        self.optimizer.zero_grad()
        self.model.zero_grad()
        total.backward()
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                self.weights[name].grad = parameter.grad.float()
        torch.nn.utils.clip_grad_norm_(self.weights.values(), 1.0)
        self.optimizer.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _copy_weights(self) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(self.weights[name])

    def _schedule(self) -> float:
        """Warm-up, cosine, and from `cooldown_from` on a straight line to zero at `steps`.

        Reaching zero matters on short runs; a cooldown can be begun from any checkpoint.
        """
        recipe = self.recipe
        bend = min(recipe.cooldown_from, recipe.steps // 2)
        warm = min(1.0, (self.step + 1) / recipe.warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * min(self.step, bend) / recipe.cosine_steps))
        left = (recipe.steps - self.step) / (recipe.steps - bend)
        return warm * cosine * min(1.0, left)

    def _losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        # looked up in float32: a frequent token's gradient would drown in bf16 sums
        table = self.weights[EMBEDDINGS]
        states, logits = forward(self.model, functional.embedding(batch.ids, table).to(torch.bfloat16))
        scores = [layer.float().softmax(dim=-1) for layer in logits]
        rows, length = batch.ids.shape
        pooled = torch.cat([layer.view(rows, length, -1).mean(dim=1) for layer in scores], dim=1)
        return {
            "hidden": hidden_loss(states.float().mean(dim=1), batch, self.recipe.temperature),
            "router": router_loss(standardize(pooled), batch.targets, self.recipe.router_temperature),
            "next_token": next_token_loss(states, batch.ids, table),
            "balance": balance_loss(scores, self.model.config.num_experts_per_tok),
        }

    def save(self, path: Path) -> None:
        """One safetensors file, replaced whole, so that a kill at any moment leaves a usable one."""
        tensors = {f"weight.{name}": value.detach() for name, value in self.weights.items()}
        for name, value in self.weights.items():
            for key in ("exp_avg", "exp_avg_sq", "step"):
                tensors[f"{key}.{name}"] = self.optimizer.state[value][key]
        partial = path.with_suffix(".partial")
        save_file(tensors, partial, metadata={"step": str(self.step)})
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Take weights, moments and step from a checkpoint."""
        with safe_open(path, framework="pt") as file:
            self.step = int(file.metadata()["step"])
            for name, value in self.weights.items():
                value.data.copy_(file.get_tensor(f"weight.{name}"))
                self.optimizer.state[value] = {
                    key: file.get_tensor(f"{key}.{name}") for key in ("exp_avg", "exp_avg_sq", "step")
                }
        logger.info("resumed at step %d", self.step)


def forward(model: OlmoeModel, embeddings: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Final states [rows, length, hidden] and each layer's router logits [rows * length, experts]."""
    output = model(inputs_embeds=embeddings, output_router_logits=True)
    return output.last_hidden_state, output.router_logits


def hidden_loss(pooled: torch.Tensor, batch: Batch, temperature: float) -> torch.Tensor:
    """InfoNCE of pooled states against static vectors; the sibling passage's target is no negative."""
    rows = standardize(pooled)
    content = functional.normalize(rows[:, :-FILLER], dim=1)
    scores = content @ torch.cat([batch.targets, batch.negatives]).T / temperature
    count = len(rows)
    labels = torch.arange(count)
    siblings = labels.roll(count // 2)
    mask = torch.zeros_like(scores, dtype=torch.bool)
    mask[labels, siblings] = True
    return functional.cross_entropy(scores.masked_fill(mask, -torch.inf), labels)


def router_loss(rows: torch.Tensor, targets: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL between whom a passage is near to by its routers and by its document's static vector."""
    itself = torch.eye(len(rows), dtype=torch.bool)
    wanted = (targets @ targets.T / temperature).masked_fill(itself, -1e4).softmax(dim=1)
    found = (rows @ rows.T / temperature).masked_fill(itself, -1e4).log_softmax(dim=1)
    return functional.kl_div(found, wanted, reduction="batchmean")


def next_token_loss(states: torch.Tensor, ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Cross-entropy on a random quarter of the positions: the soft-max is a third of a full step."""
    rows, length = ids.shape
    positions = torch.randperm(rows * (length - 1))[: rows * length // 4]
    before = states[:, :-1].reshape(-1, states.shape[-1]).index_select(0, positions)
    after = ids[:, 1:].reshape(-1).index_select(0, positions)
    return functional.cross_entropy(functional.linear(before, table.to(before.dtype)).float(), after)


def balance_loss(scores: Sequence[torch.Tensor], chosen: int) -> torch.Tensor:
    """Switch loss, 1 at perfect balance, mean over layers."""
    losses = []
    for layer in scores:
        experts = layer.shape[-1]
        picks = layer.detach().topk(chosen, dim=-1).indices
        load = torch.bincount(picks.reshape(-1), minlength=experts) / picks.numel()
        losses.append(experts * (load * layer.mean(dim=0)).sum())
    return torch.stack(losses).mean()
