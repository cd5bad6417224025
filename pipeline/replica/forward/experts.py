"""The experts' forward for CPUs: one expert after another, in buffers that stay, with products in a few shapes.

oneDNN builds a kernel for each new matrix shape, and an expert's group of tokens has a new height at every layer of
every batch. Heights are therefore rounded up to a multiple of `GROUP_STEP`, so that the same few kernels are used
again. bf16 products of random heights ran at 141 GFLOP/s the first time and at 1,080 rounded up (8 layers, hidden
512, 2 cores). The padding rows are zeros and their results are never read.

An expert's rows are gathered, multiplied, gated and multiplied again while they are in the cache. Only the results
wait for the end, where each token's are weighted and summed in one pass. Tensors of token-expert pairs are larger than
what the C library keeps (32 MiB), and allocating them costs a page fault for each 4 KiB: hence the buffers.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import torch
from torch.nn import functional

__all__ = ["PADDED_GROUPS", "grouped_forward"]

GROUP_STEP: Final = 64
"""Rows of an expert's group are padded to a multiple of this."""

PADDED_GROUPS: Final = "moee_padded_groups"
"""The name under which transformers finds this forward (``experts_implementation``)."""


def grouped_forward(
    experts: Any,
    hidden_states: torch.Tensor,  # [T, H]
    top_k_index: torch.Tensor,  # [T, K]
    top_k_weights: torch.Tensor,  # [T, K]
) -> torch.Tensor:  # [T, H]
    """What transformers' ``grouped_mm`` forward computes, with each expert's rows padded to a multiple of `GROUP_STEP`.

    `experts` is a transformers experts module: fused 3-D weights, dense or quantized, and what
    ``use_experts_implementation`` hangs on it.
    """
    groups = _Groups(top_k_index, experts.num_experts)
    first = "gate_up_proj" if experts.has_gate else "up_proj"
    results = hidden_states
    for expert, tokens, top, height in groups.each():
        into = _matrix(experts, first, expert)
        rows = _buffer("rows", height, into.shape[0], into)
        count = len(tokens)
        if hidden_states.dtype == rows.dtype:
            torch.index_select(hidden_states, 0, tokens, out=rows[:count])
        else:
            rows[:count] = hidden_states[tokens]
        rows[count:].zero_()
        inner = torch.mm(rows, into, out=_buffer("inner", height, into.shape[1], into))
        if experts.has_bias:
            inner += getattr(experts, f"{first}_bias")[expert]
        inner = experts._apply_gate(inner) if experts.has_gate else experts.act_fn(inner)  # noqa: SLF001 — theirs
        out_of = _matrix(experts, "down_proj", expert)
        results = _buffer("results", groups.total, out_of.shape[1], out_of)
        block = torch.mm(inner, out_of, out=results[top : top + height])
        if experts.has_bias:
            block += experts.down_proj_bias[expert]
    if experts.has_post_expert_norm:
        results = experts.post_expert_norm(results)
    weights = top_k_weights.to(results.dtype)
    return functional.embedding_bag(groups.place, results, per_sample_weights=weights, mode="sum").to(
        hidden_states.dtype
    )


def _matrix(experts: Any, name: str, expert: int) -> torch.Tensor:
    """The matrix of one expert, [in, out]: a view of the fused parameter, or made from its quantized form."""
    weight = getattr(experts, name)[expert]
    return weight if experts.is_transposed else weight.t()


class _Groups:
    """Token-expert pairs by expert: group after group, each padded to a multiple of `GROUP_STEP`."""

    def __init__(self, top_k_index: torch.Tensor, num_experts: int) -> None:
        expert_of_pair = top_k_index.reshape(-1)
        counts = torch.bincount(expert_of_pair, minlength=num_experts)
        heights = (counts + GROUP_STEP - 1) // GROUP_STEP * GROUP_STEP
        tops = torch.cumsum(heights, 0) - heights
        starts = torch.cumsum(counts, 0) - counts
        order = torch.argsort(expert_of_pair, stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(len(order))
        self.place = (rank + (tops - starts)[expert_of_pair]).view_as(top_k_index)
        """int64 [T, K]: the row of each pair among the padded ones."""
        self.total = int(heights.sum())
        self._tokens = torch.split(order // top_k_index.shape[1], counts.tolist())
        self._tops, self._heights = tops.tolist(), heights.tolist()

    def each(self) -> list[tuple[int, torch.Tensor, int, int]]:
        """(expert, its tokens int64 [n], its first padded row, its padded height) of every expert with tokens."""
        columns = zip(self._tokens, self._tops, self._heights, strict=True)
        return [(expert, *group) for expert, group in enumerate(columns) if group[2]]


_buffers = threading.local()


def _buffer(name: str, rows: int, width: int, like: torch.Tensor) -> torch.Tensor:
    """An uninitialised [rows, width] tensor; this thread's next call under the same name uses its memory again."""
    key = f"{name}:{like.dtype}"
    kept: torch.Tensor | None = getattr(_buffers, key, None)
    if kept is None or kept.numel() < rows * width:
        with torch.inference_mode(mode=False):  # so that it may be written to in any mode
            kept = torch.empty(rows * width, dtype=like.dtype)
        setattr(_buffers, key, kept)
    return kept[: rows * width].view(rows, width)
