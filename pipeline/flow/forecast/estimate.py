"""What a run will take: time for so many replicas, as a range, room in the storage, cost."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import aligned
from pipeline.embedding.calibration import SAMPLE_SIZE
from pipeline.embedding.table_rows import vector_array
from pipeline.mapper import available_cores
from pipeline.table.indexes.choice import MIN_BYTES

if TYPE_CHECKING:
    from pipeline.flow.forecast.rate import Rate
    from pipeline.flow.forecast.sample import Sample

__all__ = ["Estimate", "Setting", "estimate"]

EFFICIENCY: Final = 0.85
"""Of each replica beside others: two on two cores gave 1.7 times the rate of one (`make bench-flow`)."""

LEAST_SPREAD: Final = 0.12
MOST_SPREAD: Final = 0.30
"""Bounds of the range, as a share to either side. On shared cores runs differ by the first."""

RAY_SECONDS: Final = 12.0
"""That Ray takes to start its processes and its graph, and to end."""

LOCAL_SECONDS: Final = 1.5
"""The same for processes of this machine, with listing and commits."""

LOAD_SECONDS: Final = 10.0
"""Of a model whose time to load is not known."""

INDEX_BITS: Final = 5
TEXT_INDEX_SHARE: Final = 0.9
"""Bytes of a text index for each byte of text, positions included."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the run is going to be executed."""

    replicas: int
    with_ray: bool
    on_gpus: bool
    calibrates: bool
    """Whether the table is made by it."""
    dimension: int
    """D, of the vectors."""
    with_text: bool
    price: float | None
    """Of a replica for an hour, in whatever currency."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run is expected to take."""

    rows: int
    is_counted: bool
    """Whether `rows` is known; else it is reckoned from sizes."""
    tokens: int
    sampled: int
    """Rows of the sample."""
    replicas: int
    tokens_per_second: float
    """Of one replica."""
    rate_origin: str
    startup_seconds: float
    calibration_seconds: float
    embedding_seconds: float
    seconds: float
    """In all."""
    least_seconds: float
    most_seconds: float
    table_bytes: int
    index_bytes: int
    price: float | None
    cost: float | None
    least_cost: float | None
    most_cost: float | None

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


def estimate(sample: Sample, rate: Rate, setting: Setting) -> Estimate:
    """Put a sample and a rate together.

    On CPUs reading takes its time from the cores that the replicas have, too; beside GPUs it does not.
    """
    per_row = sample.tokens_per_row()
    tokens = sample.rows * per_row
    together = setting.replicas * (EFFICIENCY if setting.replicas > 1 else 1.0)
    per_token = 1.0 / rate.tokens
    reading = 0.0 if setting.on_gpus else sample.read_seconds / max(sample.read_tokens, 1) / available_cores()
    calibration_tokens = min(SAMPLE_SIZE * per_row, tokens) if setting.calibrates else 0.0
    calibration = calibration_tokens * (per_token + reading)
    # What the calibration has embedded is not embedded again.
    embedding = (tokens - calibration_tokens) * (per_token + reading) / together
    load = LOAD_SECONDS if rate.load_seconds is None else rate.load_seconds
    startup = RAY_SECONDS + load * (2 if setting.calibrates else 1) if setting.with_ray else LOCAL_SECONDS + load
    seconds = startup + calibration + embedding
    spread = _spread(sample, rate)
    low, high = seconds * (1 - spread), seconds * (1 + spread)
    cost = [_cost(each, setting) for each in (seconds, low, high)]
    table_bytes, index_bytes = _sizes(sample, setting)
    return Estimate(
        rows=sample.rows,
        is_counted=sample.is_counted,
        tokens=round(tokens),
        sampled=sample.read,
        replicas=setting.replicas,
        tokens_per_second=rate.tokens,
        rate_origin=rate.origin,
        startup_seconds=startup,
        calibration_seconds=calibration,
        embedding_seconds=embedding,
        seconds=seconds,
        least_seconds=low,
        most_seconds=high,
        table_bytes=table_bytes,
        index_bytes=index_bytes,
        price=setting.price,
        cost=cost[0],
        least_cost=cost[1],
        most_cost=cost[2],
    )


def _spread(sample: Sample, rate: Rate) -> float:
    """How far the truth may lie, as a share: twice the error of rate and of sample, within bounds."""
    halves = [sample.tokens_per_row(slice(start, None, 2)) for start in (0, 1)]
    apart = abs(halves[0] - halves[1]) / max(sum(halves), 1e-9) if len(sample.strata) > 1 else 0.0
    return float(np.clip(2 * np.hypot(apart, rate.spread), LEAST_SPREAD, MOST_SPREAD))


def _cost(seconds: float, setting: Setting) -> float | None:
    return None if setting.price is None else setting.price * setting.replicas * seconds / 3600


def _sizes(sample: Sample, setting: Setting) -> tuple[int, int]:
    """Bytes of the table and of its indexes: the sample is written as a table, with vectors that cannot be packed."""
    rows = pa.concat_tables([stratum.rows for stratum in sample.strata]).combine_chunks()
    stored = rows.num_rows * sample.rows / max(sample.read, 1)
    text_bytes = pc.sum(pc.binary_length(rows.column("text"))).as_py() or 0
    vectors = np.random.default_rng(0).standard_normal((rows.num_rows, setting.dimension)).astype(np.float16)
    kept = rows if setting.with_text else rows.drop_columns(["text"])
    with tempfile.TemporaryDirectory(prefix="moee-plan-") as folder:
        lance.write_dataset(aligned(kept.append_column("vector", vector_array(vectors))), f"{folder}/sample.lance")
        written = sum(file.stat().st_size for file in Path(folder).rglob("*.lance") if file.is_file())
    a_row = written / rows.num_rows
    vector_bytes = stored * 2 * setting.dimension
    index = stored * (setting.dimension * INDEX_BITS / 8 + 16) if vector_bytes >= MIN_BYTES else 0.0
    if setting.with_text:
        index += stored * TEXT_INDEX_SHARE * text_bytes / rows.num_rows
    return round(stored * a_row), round(index)
