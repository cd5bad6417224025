"""Whether a model fits into the memory that is there: estimated from its files' headers before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from pipeline.errors import ModelError
from pipeline.replica.host_memory import host_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.models.weights import Weight
    from pipeline.spec import Dtype, Quantization

__all__ = ["available_memory", "needed_memory", "refuse_too_large"]

BYTES_PER_EXPERT_ELEMENT: Final = {"nf4": 0.54, "int8": 1.05}
"""Bytes a quantized element takes, scales included."""

LOADING_FACTOR: Final = 1.1
"""Loading needs this many times the weights' size: buffers, one layer's conversion, the first batch."""


def needed_memory(weights: Sequence[Weight], dtype: Dtype, quantization: Quantization = "none") -> int:
    """Bytes that the loaded weights take."""
    plain = torch.empty(0, dtype=getattr(torch, dtype)).element_size()
    expert = BYTES_PER_EXPERT_ELEMENT.get(quantization, plain)
    return round(sum(weight.elements * (expert if weight.of_experts else plain) for weight in weights))


def available_memory(device: torch.device) -> int | None:
    """Free bytes: of a GPU, else of the host within its cgroup's limit; None: unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return host_memory()


def refuse_too_large(
    name: str, weights: Sequence[Weight], *, dtype: Dtype, quantization: Quantization, device: torch.device
) -> None:
    """Raise ModelError where the weights cannot fit on the device."""
    needed, room = needed_memory(weights, dtype, quantization) * LOADING_FACTOR, available_memory(device)
    if room is None or needed <= room:
        return
    smaller = "" if quantization == "nf4" else "; quantization='nf4' needs about a quarter"
    raise ModelError(
        f"model {name!r}: not enough memory on {device}: about {_gib(needed)} are needed in {dtype}"
        f"{'' if quantization == 'none' else f' with {quantization} experts'}, {_gib(room)} are free{smaller}"
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
