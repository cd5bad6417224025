"""Two ways to lay several sequences out for one forward: packed without padding, or padded on the right.

Packed is a single row of tokens, the sequences one after another with positions that start again at each; attention
stays inside a sequence because our attention function is told where each ends. It costs no padding and no mask, but
a few architectures mix neighbouring tokens in other ways, so a replica probes it and falls back to padded rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from torch.nn import functional
from transformers import AttentionInterface

__all__ = ["PACKED_ATTENTION", "ForwardInputs", "Layout", "lay_out"]

Layout = Literal["packed", "padded"]

PACKED_ATTENTION: Final = "moee_packed"
"""The name under which transformers finds our attention function (``attn_implementation``)."""

LENGTH_STEP: Final = 64
"""Packed rows are filled up to a multiple of this, so that matrix products come in few shapes (see `experts`)."""


@dataclass(frozen=True, slots=True)
class ForwardInputs:
    """Keyword arguments for the model, and where each token of the batch lies among the rows that it computes."""

    kwargs: dict[str, Any]
    rows: np.ndarray
    """int64 [total tokens]: the flattened row of every token, sequence after sequence."""


def lay_out(ids: np.ndarray, lengths: np.ndarray, *, layout: Layout, pad: int, device: torch.device) -> ForwardInputs:
    """Arrange sequences for a forward.

    Args:
        ids: int [total tokens], the sequences one after another.
        lengths: int [n], tokens in each; all at least 1.
        layout: how to arrange them.
        pad: token id for positions that belong to no sequence.
        device: where the tensors go.
    """
    return _packed(ids, lengths, pad, device) if layout == "packed" else _padded(ids, lengths, pad, device)


def _packed(ids: np.ndarray, lengths: np.ndarray, pad: int, device: torch.device) -> ForwardInputs:
    total = len(ids)
    filler = -total % LENGTH_STEP
    all_lengths = np.append(lengths, filler) if filler else lengths
    stops = np.cumsum(all_lengths)
    positions = np.arange(total + filler) - np.repeat(stops - all_lengths, all_lengths)
    tokens = np.concatenate([ids, np.full(filler, pad, dtype=ids.dtype)])
    kwargs = {
        "input_ids": _to(tokens, device)[None],
        "position_ids": _to(positions, device)[None],
        "sequence_stops": tuple(stops.tolist()),
        "use_cache": False,
    }
    return ForwardInputs(kwargs, np.arange(total))


def _padded(ids: np.ndarray, lengths: np.ndarray, pad: int, device: torch.device) -> ForwardInputs:
    width = int(lengths.max())
    mask = np.arange(width)[None, :] < lengths[:, None]
    tokens = np.full(mask.shape, pad, dtype=ids.dtype)
    tokens[mask] = ids
    kwargs = {"input_ids": _to(tokens, device), "attention_mask": _to(mask, device), "use_cache": False}
    return ForwardInputs(kwargs, np.flatnonzero(mask))


def _to(array: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64)).to(device, non_blocking=True)


def _packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # [1, heads, T, D]
    key: torch.Tensor,  # [1, key-value heads, T, D]
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    sequence_stops: tuple[int, ...] | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each of the packed sequences.

    What it does not know (soft caps, sinks, position biases) it refuses, and the replica falls back to padding.
    """
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if sequence_stops is None or attention_mask is not None or unknown:
        raise NotImplementedError(f"packed attention in {type(module).__name__} ({', '.join(unknown) or 'no stops'})")
    if query.shape[0] != 1 or not getattr(module, "is_causal", True):
        raise NotImplementedError(f"packed attention in {type(module).__name__}: not one causal row")
    grouped = query.shape[1] != key.shape[1]
    pieces, start = [], 0
    for stop in sequence_stops:
        window = _band(stop - start, sliding_window, query.device)
        pieces.append(
            functional.scaled_dot_product_attention(
                query[:, :, start:stop],
                key[:, :, start:stop],
                value[:, :, start:stop],
                attn_mask=window,
                is_causal=window is None,
                scale=scaling,
                enable_gqa=grouped,
            )
        )
        start = stop
    return torch.cat(pieces, dim=2).transpose(1, 2), None  # [1, T, heads, D]


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Mask [length, length]: each token sees itself and the `window - 1` before it; None where that is all of them."""
    if window is None or length <= window:
        return None
    ahead = torch.arange(length, device=device)
    distance = ahead[:, None] - ahead[None, :]
    return (distance >= 0) & (distance < window)


AttentionInterface.register(PACKED_ATTENTION, _packed_attention)
