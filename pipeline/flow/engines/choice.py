"""Which engine executes a run, where the caller leaves it open."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

from pipeline.flow.engines.devices import count_gpus

if TYPE_CHECKING:
    from pipeline.flow.engines.base import Engine
    from pipeline.flow.options import EmbedOptions

__all__ = ["Choice", "choose_engine", "runs_on_ray"]

MAX_LOCAL_REPLICAS: Final = 4
"""Replicas that one reading process can feed: it reads and tokenizes some 10,000 short documents a second.

With fewer there is no size from which Ray would be quicker on one machine. 40,000 documents with a stub replica on two
cores that were shared with others: 10,000 documents/s and 8 s of start-up, with Ray 3,000 and 34 s.
"""


class Choice(NamedTuple):
    """An engine, and why it was chosen; empty where nothing else could be expected."""

    engine: Engine
    why: str


def choose_engine(options: EmbedOptions) -> Choice:
    """The engine of `options`; ``auto`` is Ray on a cluster and for many devices, and this machine otherwise."""
    asked = options.engine
    if not isinstance(asked, str):
        return Choice(asked, "")
    why = _why_ray(options) if asked == "auto" else ""
    if asked == "ray" or why:
        from pipeline.flow.engines.ray_engine import RayEngine

        return Choice(RayEngine(options.replicas, options.device, options.start_minutes), why)
    from pipeline.flow.engines.local_engine import LocalEngine

    return Choice(LocalEngine(options.replicas, options.device), "")


def runs_on_ray(options: EmbedOptions) -> bool:
    """Whether `choose_engine` would take Ray; starts nothing."""
    asked = options.engine
    return asked == "ray" or (asked == "auto" and bool(_why_ray(options))) or getattr(asked, "name", "") == "Ray"


def _why_ray(options: EmbedOptions) -> str:
    if os.environ.get("RAY_ADDRESS"):
        return "RAY_ADDRESS names a cluster"
    if "RAY_JOB_ID" in os.environ or _is_ray_connected():
        return "this process is connected to a Ray cluster"
    gpus = 0 if options.device == "cpu" else count_gpus()
    if gpus > 1 and options.device == "auto":
        return f"there are {gpus} GPUs"
    most = options.replicas.most if options.replicas else 1
    if most > MAX_LOCAL_REPLICAS:
        return f"{most} replicas are more than one process can read for"
    return ""


def _is_ray_connected() -> bool:
    """Whether somebody in this process has started Ray; does not import it."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()
