"""How torch's threads wait for each other.

GNU OpenMP lets a thread that waits spin for milliseconds, which takes the core from whoever else wants it: readers
beside a replica, the desktop around a notebook. Sleeping at once costs a wake-up for each of a model's thousands of
small steps. In between lies a spin about as long as such a wake-up takes. Measured with both cores shared with other
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
"""Environment of a process; read when torch is loaded."""


def spin_briefly() -> None:
    """Let the threads of this process spin briefly, unless its environment says how they are to wait."""
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in SPIN_BRIEFLY.items():
            os.environ.setdefault(name, value)
