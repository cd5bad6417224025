"""How many tokens a second a replica embeds: measured here with the sample, or known from a run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.embedding.tokens import Tokens
from pipeline.table.companions.runs import read_runs

if TYPE_CHECKING:
    from pipeline.flow.encoder import EncoderPlan
    from pipeline.flow.forecast.sample import Sample
    from pipeline.table import TableLocation

__all__ = ["MEASURE_SECONDS", "Rate", "last_rate", "measure_rate"]

MEASURE_SECONDS: Final = 20.0

WARM_UP_ROWS: Final = 64
BATCH_ROWS: Final = 256
"""Fewer than in a run's units, so that the time to measure is kept; a few per cent slower."""

MIN_RUN_SECONDS: Final = 20.0
"""Of embedding in a run whose rate is taken for the next one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens a second of one replica."""

    tokens: float
    spread: float
    """How far single measurements lie from it, as a share."""
    origin: str
    """Where it comes from, for people."""
    load_seconds: float | None = None
    """That the model took to load; None: it was not loaded."""


def measure_rate(encoder: EncoderPlan, sample: Sample, seconds: float = MEASURE_SECONDS) -> Rate:
    """Load the model in this process, and embed the sample with it, once or for about `seconds`."""
    began = time.monotonic()
    built = encoder.build()
    loaded = time.monotonic() - began
    tokens = Tokens.from_arrow(pa.concat_tables([stratum.tokens for stratum in sample.strata]).combine_chunks())
    built.raw_of(tokens.some(np.arange(min(WARM_UP_ROWS, len(tokens)))))
    counts: list[int] = []
    times: list[float] = []
    for start in range(0, len(tokens), BATCH_ROWS):
        batch = tokens.some(np.arange(start, min(start + BATCH_ROWS, len(tokens))))
        began = time.monotonic()
        built.raw_of(batch)
        times.append(time.monotonic() - began)
        counts.append(int(batch.lengths.sum()))
        if sum(times) > seconds:
            break
    rates = np.array(counts) / np.array(times)
    spread = float(rates.std() / rates.mean() / np.sqrt(len(rates)))
    return Rate(sum(counts) / sum(times), spread, f"measured here for {sum(times):.0f} s", loaded)


def last_rate(location: TableLocation) -> Rate | None:
    """The rate of the table's last run that was long enough; None: there is none."""
    runs = read_runs(location)
    known = pc.and_(pc.greater(runs.column("tokens"), 0), pc.is_valid(runs.column("startup_seconds")))
    for run in reversed(runs.filter(known).to_pylist()):
        embedding = run["seconds"] - run["startup_seconds"] - (run["index_seconds"] or 0.0)
        if embedding >= MIN_RUN_SECONDS:
            replicas = run["replicas"] or 1
            where = "on GPUs" if run["on_gpus"] else "on CPUs"
            return Rate(run["tokens"] / embedding / replicas, 0.0, f"of run {run['run']}, {where}")
    return None
