"""How torch's threads wait for each other.

GNU OpenMP lets a waiting thread spin for milliseconds. That takes the core from other processes: from readers beside a
replica, from the desktop around a notebook. A thread that sleeps at once pays a wake-up for each of a model's
thousands of small steps. A spin about as long as a wake-up avoids both. Measured with both cores shared with other
work, built-in model, two threads: 2,200 tokens/s with the default, 13,700 sleeping at once, 22,900 spinning briefly.
"""

from __future__ import annotations

import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SPIN_BRIEFLY", "spin_briefly"]

SPIN_BRIEFLY: Final[Mapping[str, str]] = MappingProxyType({"GOMP_SPINCOUNT": "10000"})
"""Environment variables of a process; torch reads them when it is loaded."""


def spin_briefly() -> None:
    """Let the threads of this process spin briefly, unless its environment already says how they wait."""
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SPIN_BRIEFLY.items():
            os.environ.setdefault(name, value)
