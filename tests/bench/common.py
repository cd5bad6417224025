"""What all benchmarks share: which machine this was, and where results are kept."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["RESULTS", "machine", "save"]

RESULTS = Path(__file__).parent / "results"


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """The hardware and the libraries whose speed it is."""
    import torch  # not above: some benchmarks measure the memory of processes that need no torch

    on_gpu = device is not None and device.type == "cuda"
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name(device) if on_gpu else None,
        "libraries": {name: version(name) for name in ("torch", "transformers", "bitsandbytes", "ray", "pylance")},
    }


def save(name: str, record: dict[str, Any]) -> Path:
    """Keep a result under its name and the date."""
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    target = RESULTS / f"{name}-{now:%Y%m%d-%H%M}.json"
    target.write_text(json.dumps({"date": now.isoformat(timespec="seconds"), **record}, indent=1) + "\n")
    return target


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(":")[2].strip() if names else platform.machine()
