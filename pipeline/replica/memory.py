"""Whether a model fits into the memory that is there: estimated from its files' headers before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch

from pipeline.errors import ModelError

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
    left = [room for room in (_host_memory(), _cgroup_memory()) if room is not None]
    return min(left) if left else None


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


def _host_memory() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _cgroup_memory() -> int | None:
    """What a container's limit leaves. Cached files count as free, because the kernel gives their memory back."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        counts = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines())
        return max(int(limit) - used + int(counts.get("inactive_file", 0)) + int(counts.get("active_file", 0)), 0)
    except (OSError, ValueError):
        return None
