"""Attention over packed sequences: causal, and inside each sequence only.

The model computes one row of tokens; `Segments` says where in it each sequence begins and ends, and travels to the
attention function as a keyword of the model's forward. No mask of tokens × tokens is ever made.

On CUDA torch's variable-length kernel does it in one call. On CPUs the sequences go one by one, through torch's flash
kernel, except for long ones in bfloat16: plain matrix products of `TILE` queries with the keys up to them took 25 ms
where the flash kernel took 39 (180 tokens), and 34 where it took 84 (512): oneDNN has bfloat16 kernels, and half of
the products are never made. Scores are rounded to bfloat16 before the softmax, as in transformers' eager attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PACKED_ATTENTION", "SEQUENCE_STEP", "Segments", "packed_attention"]

PACKED_ATTENTION: Final = "moee_packed"
"""The name under which transformers finds our attention function (``attn_implementation``)."""

TILE: Final = 128
"""Queries that are computed together; shorter sequences go through torch's flash kernel."""
SEQUENCE_STEP: Final = 32
"""A sequence is computed up to a multiple of this length, so that products come in few shapes (see `experts`).

The tokens past its end belong to the next sequence. Causality keeps them out, and their own results overwrite them.
"""


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the packed sequences lie."""

    stops: tuple[int, ...]
    """The end of each sequence, ascending; the first begins at 0."""
    offsets: torch.Tensor
    """int32 [n + 1], on the device: 0 and the stops."""
    longest: int
    """Tokens in the longest sequence."""

    def spans(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of each sequence."""
        return zip((0, *self.stops[:-1]), self.stops, strict=True)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,  # [1, heads, T, D]
    key: torch.Tensor,  # [1, key-value heads, T, D]
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    segments: Segments | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each of the packed sequences: [1, T, heads, D].

    What it does not know (soft caps, sinks, position biases) it refuses, and the replica falls back to padding.
    """
    unknown = [name for name in ("softcap", "s_aux", "position_bias") if others.get(name) is not None]
    if segments is None or attention_mask is not None or unknown:
        raise NotImplementedError(
            f"packed attention in {type(module).__name__} ({', '.join(unknown) or 'no segments'})"
        )
    if query.shape[0] != 1 or not getattr(module, "is_causal", True):
        raise NotImplementedError(f"packed attention in {type(module).__name__}: not one causal row")
    scale = scaling or query.shape[-1] ** -0.5
    if query.is_cuda and query.dtype != torch.float32:
        return _varlen(query, key, value, segments, scale, sliding_window), None
    return _one_by_one(query, key, value, segments, scale, sliding_window), None


def _varlen(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    scale: float,
    window: int | None,
) -> torch.Tensor:
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (part[0].transpose(0, 1).contiguous() for part in (query, key, value))
    width = -1 if window is None or window >= segments.longest else window - 1
    out = varlen_attn(
        q,
        k,
        v,
        segments.offsets,
        segments.offsets,
        segments.longest,
        segments.longest,
        scale=scale,
        window_size=(width, 0),
        enable_gqa=query.shape[1] != key.shape[1],
        num_splits=1,  # splits depend on the longest sequence in the batch, and would make a vector depend on it too
    )
    assert isinstance(out, torch.Tensor)
    return out[None]


def _one_by_one(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    scale: float,
    window: int | None,
) -> torch.Tensor:
    total, heads = query.shape[2], query.shape[1]
    out = query.new_zeros(1, total, heads, value.shape[3])
    tiled = query.dtype == torch.bfloat16 and not query.is_cuda
    if tiled and key.shape[1] < heads and segments.longest >= TILE:
        key, value = (part.repeat_interleave(heads // part.shape[1], 1) for part in (key, value))
    for start, stop in segments.spans():
        if tiled and stop - start >= TILE:
            stop = min(start + -(-(stop - start) // SEQUENCE_STEP) * SEQUENCE_STEP, total)  # noqa: PLW2901 — computed past the end
            q, k, v = (part[0, :, start:stop] for part in (query, key, value))
            _tiles(q, k, v, scale, window, into=out[0, start:stop].transpose(0, 1))
            continue
        band = _band(stop - start, window, query.device)
        q, k, v = (part[:, :, start:stop] for part in (query, key, value))
        out[:, start:stop] = functional.scaled_dot_product_attention(
            q, k, v, attn_mask=band, is_causal=band is None, scale=scale, enable_gqa=key.shape[1] != heads
        ).transpose(1, 2)
    return out


def _tiles(
    query: torch.Tensor,  # [heads, L, D]
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    window: int | None,
    *,
    into: torch.Tensor,
) -> None:
    length = query.shape[1]
    for first in range(0, length, TILE):
        last = min(first + TILE, length)
        scores = torch.baddbmm(query.new_empty(()), query[:, first:last], key[:, :last].mT, beta=0, alpha=scale)
        if window is None or last <= window:
            scores[:, :, first:] += _unseen(0, last - first, None, query.dtype)
        else:
            scores += _unseen(first, last, window, query.dtype)
        into[:, first:last] = torch.bmm(scores.softmax(-1), value[:, :last])


@lru_cache(maxsize=64)
def _unseen(first: int, last: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
    """What to add to the scores of the queries `first` to `last`, [last - first, last]: 0, or -inf where not seen."""
    distance = torch.arange(first, last)[:, None] - torch.arange(last)
    outside = distance < 0 if window is None else (distance < 0) | (distance >= window)
    return torch.zeros(outside.shape, dtype=dtype).masked_fill_(outside, float("-inf"))


def _band(length: int, window: int | None, device: torch.device) -> torch.Tensor | None:
    """Mask [length, length]: each token sees itself and the `window - 1` before it; None where that is all of them."""
    if window is None or length <= window:
        return None
    ahead = torch.arange(length, device=device)
    distance = ahead[:, None] - ahead[None, :]
    return (distance >= 0) & (distance < window)
