"""What this machine has to compute with, found out without importing torch."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["count_gpus"]


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use: those that its environment names, as far as they are there."""
    there = len(list(Path("/dev").glob("nvidia[0-9]*")))
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return there
    return min(there, len([each for each in named.split(",") if each.strip() not in {"", "-1"}]))
