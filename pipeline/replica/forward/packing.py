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

from pipeline.replica.forward.attention import SEQUENCE_STEP, Segments

__all__ = ["ForwardInputs", "Layout", "lay_out"]

Layout = Literal["packed", "padded"]

PACKED_STEP: Final = 64
"""A packed row is filled up to a multiple of this many tokens, so that matrix products come in few shapes.

At least `SEQUENCE_STEP` tokens of filler follow the last sequence, because attention computes that far past an end.
"""


@dataclass(frozen=True, slots=True)
class ForwardInputs:
    """What the model is called with, and where each token of the batch lies in its output."""

    kwargs: dict[str, Any]
    """Keyword arguments for the model."""
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
    filler = -(total + SEQUENCE_STEP) % PACKED_STEP + SEQUENCE_STEP
    stops = np.cumsum(lengths)
    positions = np.arange(total) - np.repeat(stops - lengths, lengths)
    offsets = torch.from_numpy(np.append(np.append(0, stops), total + filler).astype(np.int32))
    longest = max(int(lengths.max()), filler)
    kwargs = {
        "input_ids": _to(np.append(ids, np.full(filler, pad, ids.dtype)), device)[None],
        "position_ids": _to(np.append(positions, np.arange(filler)), device)[None],
        "segments": Segments((*stops.tolist(), total + filler), offsets.to(device, non_blocking=True), longest),
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
    """The array on the device, int64; to a GPU it is copied while the host goes on."""
    tensor = torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
