"""The calibration of a new table: a sample of the documents planned first, encoded once, before anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import ray

from pipeline.embedding.calibration import SAMPLE_SIZE, choose_sample
from pipeline.flow.parcel import to_ipc
from pipeline.flow.planning import CANDIDATES
from pipeline.models import reference_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.corpus import WorkUnit
    from pipeline.flow.stages import ReadStage
    from pipeline.flow.worker import EncoderPlan

__all__ = ["calibrate", "sample_texts"]


def sample_texts(units: Sequence[WorkUnit], read: ReadStage) -> list[str]:
    """The calibration sample: the texts with the lowest hash among the first `CANDIDATES` documents of the plan.

    A corpus with fewer than `SAMPLE_SIZE` distinct texts is topped up from the package's reference texts.
    """
    found: list[pa.ChunkedArray] = []
    count = 0
    for batch in (batch for unit in units for batch in read.read(unit)):
        found.append(batch.documents.column("text"))
        count += batch.documents.num_rows
        if count >= CANDIDATES:
            break
    chunks = [chunk for column in found for chunk in column.chunks]
    sample = choose_sample(pa.chunked_array(chunks, pa.large_string()).slice(0, CANDIDATES))
    return sample + choose_sample(pa.array(reference_texts()), SAMPLE_SIZE - len(sample))


def calibrate(
    encoder: EncoderPlan, units: Sequence[WorkUnit], read: ReadStage, resources: Mapping[str, Any]
) -> tuple[bytes, tuple[int, int]]:
    """Calibrate on the cluster, where the replicas will be: (calibration as Arrow IPC, sizes (H, R) of the halves)."""
    task: Any = ray.remote(_calibrate).options(**resources, max_retries=1)
    return ray.get(task.remote(encoder, tuple(units), read))


def _calibrate(encoder: EncoderPlan, units: Sequence[WorkUnit], read: ReadStage) -> tuple[bytes, tuple[int, int]]:
    built = encoder.build()
    calibration = built.calibrate(sample_texts(units, read))
    return to_ipc(calibration.to_arrow()), built.halves
