"""Which stage of a run was waited for, and what to change.

By the law of utilization the stage whose workers are at work for the largest share of the time bounds the rate: all
others wait for it, on whichever side of it they are. A stage that shares its workers with another one (the local
engine's replicas write, too) counts for its own part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.flow.engines.base import Pool
    from pipeline.flow.watching.effort import Effort

__all__ = ["STAGES", "Bottleneck", "bottleneck", "stage_loads", "stage_seconds"]

READING: Final = "reading"
TOKENIZING: Final = "tokenizing"
REPLICAS: Final = "replicas"
STAGING: Final = "staging"
COMMITS: Final = "commits"

STAGES: Final = (READING, TOKENIZING, REPLICAS, STAGING, COMMITS)
"""In the order in which a document passes."""

MIN_LOAD: Final = 0.3
"""Below that no stage was waited for: the run was too short, or its time went between the stages."""

_ADVICE: Final = {
    READING: "storage nearer by, or more CPUs; Parquet and uncompressed files are read in parallel",
    TOKENIZING: "more CPUs",
    STAGING: "storage that takes writes faster; more replicas write side by side",
    COMMITS: "storage that answers faster; `moee index` joins small fragments, each of which a commit names",
}
_ONE_READER: Final = "--engine ray, where several processes read and tokenize"
_MORE_GPUS: Final = "more GPUs (--replicas), or a smaller model"
_MORE_CORES: Final = "a GPU, more cores, or a smaller model"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """The stage that was waited for."""

    stage: str
    """One of `STAGES`."""
    load: float
    """Share of the time for which its workers were at work, 0 to 1."""
    replicas: float
    """The same of the replicas."""
    advice: str
    """What to change."""

    def __str__(self) -> str:
        others = "" if self.stage == REPLICAS else f", the replicas {self.replicas:.0%}"
        share = f"at work {self.load:.0%} of the time{others}"
        return f"waited mostly for {self.stage} ({share}); quicker with {self.advice}"


def stage_seconds(effort: Effort, committing: float) -> dict[str, float]:
    """Seconds at work in each of `STAGES`; `committing`: for which the driver was."""
    seconds = (effort.reading, effort.tokenizing, effort.embedding, effort.staging, committing)
    return dict(zip(STAGES, seconds, strict=True))


def stage_loads(seconds: Mapping[str, float], effort: Effort, pool: Pool, passed: float) -> dict[str, float]:
    """The share of the time for which each stage's workers were at work, 0 to 1.

    Args:
        seconds: of `stage_seconds`.
        effort: of all parcels.
        pool: how many workers a stage has.
        passed: seconds since the engine was given the plan.
    """
    passed = max(passed, 1e-9)
    replicas = effort.replica_seconds
    reading = (seconds[READING] + seconds[TOKENIZING]) / (pool.readers * passed)
    staging = seconds[STAGING] / (pool.writers * passed) if pool.writers else _share(seconds[STAGING], replicas)
    loads = {
        READING: reading,
        TOKENIZING: reading,
        REPLICAS: _share(seconds[REPLICAS], replicas),
        STAGING: staging,
        COMMITS: seconds[COMMITS] / passed,
    }
    return {stage: min(load, 1.0) for stage, load in loads.items()}


def bottleneck(seconds: Mapping[str, float], loads: Mapping[str, float], pool: Pool) -> Bottleneck | None:
    """The stage that was waited for; None: none of them. Of reading and tokenizing, one worker's work, the longer."""
    stage = max(STAGES, key=lambda each: (loads[each], seconds[each]))
    if loads[stage] < MIN_LOAD:
        return None
    return Bottleneck(stage, loads[stage], loads[REPLICAS], _advice(stage, pool))


def _advice(stage: str, pool: Pool) -> str:
    if stage == REPLICAS:
        return _MORE_GPUS if pool.on_gpus else _MORE_CORES
    if stage in {READING, TOKENIZING} and pool.readers == 1 and not pool.writers:
        return _ONE_READER
    return _ADVICE[stage]


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
