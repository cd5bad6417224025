"""The experts' forward for CPUs: every matrix product in one of a few shapes.

oneDNN builds a kernel for each matrix shape that it has not seen, and an expert's group of tokens has a new height
at every layer of every batch. With heights rounded up to a multiple of `ROWS` the same few kernels serve for ever:
bf16 products of random heights ran at 141 GFLOP/s the first time and at 1,080 rounded up (8 layers, hidden 512, 2
cores). The padding rows are zeros and their results are never read.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

__all__ = ["PADDED_GROUPS", "padded_groups_forward"]

ROWS: Final = 64
PADDED_GROUPS: Final = "moee_padded_groups"
"""The name under which transformers finds this forward (``experts_implementation``)."""


def padded_groups_forward(
    self: Any,
    hidden_states: torch.Tensor,  # [T, H]
    top_k_index: torch.Tensor,  # [T, K]
    top_k_weights: torch.Tensor,  # [T, K]
) -> torch.Tensor:  # [T, H]
    """What transformers' ``grouped_mm`` forward computes, with each expert's rows padded to a multiple of `ROWS`.

    `self` is a transformers experts module: fused 3-D weights, and what ``use_experts_implementation`` hangs on it.
    """
    tokens, choices = top_k_index.shape
    expert_of_pair = top_k_index.reshape(-1)
    counts = torch.bincount(expert_of_pair, minlength=self.num_experts)[: self.num_experts]
    heights = (counts + ROWS - 1) // ROWS * ROWS
    tops = torch.cumsum(heights, 0) - heights
    starts = torch.cumsum(counts, 0) - counts

    order = torch.argsort(expert_of_pair, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    place = rank + (tops - starts)[expert_of_pair]  # [T·K]: the padded row of each token-expert pair

    padded = hidden_states.new_zeros(int(heights.sum()), hidden_states.shape[-1])
    padded[place] = hidden_states.repeat_interleave(choices, dim=0)
    groups = [(e, top, height) for e, (top, height) in enumerate(zip(tops.tolist(), heights.tolist(), strict=True))]
    groups = [group for group in groups if group[2]]

    first = "gate_up_proj" if self.has_gate else "up_proj"
    inner = _grouped_linear(self, first, padded, groups)
    inner = self._apply_gate(inner) if self.has_gate else self.act_fn(inner)
    out = _grouped_linear(self, "down_proj", inner, groups)
    if self.has_post_expert_norm:
        out = self.post_expert_norm(out)
    chosen = out[place].view(tokens, choices, -1)
    return (chosen * top_k_weights.to(chosen.dtype).unsqueeze(-1)).sum(dim=1).to(hidden_states.dtype)


def _grouped_linear(
    experts: Any, name: str, rows: torch.Tensor, groups: list[tuple[int, int, int]]
) -> torch.Tensor:  # [P, out]
    weight = getattr(experts, name)  # [E, out, in], or [E, in, out] where transposed
    bias = getattr(experts, f"{name}_bias") if experts.has_bias else None
    if not experts.is_transposed:
        weight = weight.transpose(1, 2)
    rows = rows.to(weight.dtype)
    out = rows.new_empty(rows.shape[0], weight.shape[2])
    for expert, top, height in groups:
        block = out[top : top + height]
        torch.mm(rows[top : top + height], weight[expert], out=block)
        if bias is not None:
            block += bias[expert]
    return out


ALL_EXPERTS_FUNCTIONS.register(PADDED_GROUPS, padded_groups_forward)
