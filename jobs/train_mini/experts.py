"""The experts' forward and backward for CPU training.

oneDNN builds a kernel for every matrix shape it has not seen, and an expert's token group has a
new height in every layer of every step: groups are padded to multiples of `ROWS`. Dispatch and
combination are permutations, so both directions are written as gathers; autograd's own backward
of a gather is a scatter-add, which is several times slower on CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

NAME = "padded_groups"
ROWS = 128


class _Dispatch(torch.autograd.Function):
    """tokens [N, d] -> rows [P, d] in expert order; padding rows repeat token 0 and are ignored."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, source: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(place)
        return tokens.index_select(0, source)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (place,) = ctx.saved_tensors
        return _gather_sum(gradient, place), None, None


class _Combine(torch.autograd.Function):
    """rows [P, d] -> tokens [N, d], the sum of each token's k rows."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, source: torch.Tensor, place: torch.Tensor, real: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(source, real)
        return _gather_sum(rows, place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        source, real = ctx.saved_tensors
        return gradient.index_select(0, source) * real, None, None, None


def _gather_sum(rows: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    """Rows [P, d] at place [N, k] -> [N, d]."""
    total = rows.index_select(0, place[:, 0])
    for slot in range(1, place.shape[1]):
        total += rows.index_select(0, place[:, slot])
    return total


def _layout(chosen: torch.Tensor, experts: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, list[int]]:
    """Where each (token, slot) goes: row -> token [P], (token, slot) -> row [N, k], slot of row [P], group heights."""
    tokens, slots = chosen.shape
    flat = chosen.reshape(-1)
    order = torch.argsort(flat, stable=True)
    counts = torch.bincount(flat, minlength=experts)
    heights = (counts + ROWS - 1) // ROWS * ROWS
    shift = heights.cumsum(0) - heights - (counts.cumsum(0) - counts)
    rows = torch.arange(flat.numel()) + shift[flat[order]]
    pair_of_row = torch.full((int(heights.sum()),), -1)
    pair_of_row[rows] = order
    place = torch.empty_like(order)
    place[order] = rows
    source = pair_of_row.clamp_min(0) // slots
    return source, place.view(tokens, slots), pair_of_row, heights.tolist()


def padded_groups_forward(
    self: Any,
    hidden_states: torch.Tensor,
    top_k_index: torch.Tensor,
    top_k_weights: torch.Tensor,
) -> torch.Tensor:
    """Drop-in for transformers' experts forward."""
    source, place, pair_of_row, heights = _layout(top_k_index, self.num_experts)
    real = (pair_of_row >= 0).to(hidden_states.dtype).unsqueeze(1)
    weight_of_row = top_k_weights.reshape(-1).index_select(0, pair_of_row.clamp_min(0)).unsqueeze(1)
    groups = _Dispatch.apply(hidden_states, source, place).split(heights)
    # unbind and split, not indexing: their backward is one stack and one cat, where indexing
    # would write a zero-filled tensor of full size for every expert
    ups = self.gate_up_proj.unbind(0)
    downs = self.down_proj.unbind(0)
    outputs = []
    for expert, group in enumerate(groups):
        if heights[expert]:
            gate, up = functional.linear(group, ups[expert]).chunk(2, dim=-1)
            outputs.append(functional.linear(functional.silu(gate) * up, downs[expert]))
    rows = torch.cat(outputs) * (weight_of_row * real)
    return _Combine.apply(rows, source, place, real)


def register() -> None:
    """Make `config._experts_implementation = NAME` known to transformers."""
    ALL_EXPERTS_FUNCTIONS.register(NAME, padded_groups_forward)
