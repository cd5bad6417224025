"""``python -m jobs.doctor.libraries``: imports torch and bitsandbytes, and prints as JSON what came of it.

In a process of its own, since a broken library writes to stderr, hangs, or takes its process with it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from typing import Any, Final

__all__ = ["library_facts"]

SECONDS: Final = 60
"""A cold disk takes some for gigabytes of shared libraries."""


def library_facts() -> dict[str, Any]:
    """What a fresh interpreter says of its libraries: ``torch``, ``bitsandbytes`` (versions), ``cuda``, ``gpus``.

    Each library that cannot be imported has an ``…_error`` instead; ``error`` stands alone where nothing came back.
    """
    try:
        done = subprocess.run(  # noqa: S603 — this interpreter, on this module
            [sys.executable, "-m", __name__], capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"importing torch takes more than {SECONDS} s"}
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"status {done.returncode}"]
        return {"error": f"importing torch ends the process: {said[-1].strip()}"}
    return json.loads(done.stdout.splitlines()[-1])


def _facts() -> dict[str, Any]:
    found: dict[str, Any] = {}
    try:
        found |= _torch()
    except Exception as error:  # of a broken installation anything may come
        found["torch_error"] = _said(error)
    try:
        import bitsandbytes

        found["bitsandbytes"] = bitsandbytes.__version__
    except Exception as error:
        found["bitsandbytes_error"] = _said(error)
    return found


def _torch() -> dict[str, Any]:
    import torch

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    gpus: list[dict[str, Any]] = []
    for index in range(torch.cuda.device_count() if usable else 0):
        free, total = torch.cuda.mem_get_info(index)
        bfloat16 = torch.cuda.get_device_capability(index) >= (8, 0)
        gpus.append({"name": torch.cuda.get_device_name(index), "free": free, "total": total, "bfloat16": bfloat16})
    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": gpus,
        "told": [str(each.message).splitlines()[0] for each in told],
    }


def _said(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


if __name__ == "__main__":
    print(json.dumps(_facts()))
