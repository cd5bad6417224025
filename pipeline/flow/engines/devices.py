"""What this machine has to compute with, found out without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["available_cores", "count_gpus"]


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use: those that its environment names, as far as they are there."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return there
    return min(there, len([each for each in named.split(",") if each.strip() not in {"", "-1"}]))
