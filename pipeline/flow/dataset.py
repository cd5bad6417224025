"""The embedding as one step of anybody's Ray Data pipeline: a dataset with texts in, the same one with vectors out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray
from ray.data import ActorPoolStrategy

from pipeline.columns import to_ipc
from pipeline.errors import UsageError
from pipeline.flow.encoder import EncoderPlan
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.cluster import replica_resources
from pipeline.models import resolve_spec

if TYPE_CHECKING:
    from pipeline.embedding.calibration import Calibration
    from pipeline.spec import EmbeddingSpec

__all__ = ["VectorStage", "embed_dataset"]

MADE: Final = {"vector", "hs_norm", "rw_norm", "n_tokens", "truncated", "reject"}
"""The columns that are added."""

BATCH_ROWS: Final = 1024
"""Rows embedded together: enough to sort by length and fill token batches."""


def embed_dataset(
    dataset: ray.data.Dataset,
    spec: EmbeddingSpec | str | None = None,
    *,
    text: str = "text",
    calibration: Calibration | None = None,
    replicas: str | int | tuple[int, int] | None = None,
    device: str = "auto",
) -> ray.data.Dataset:
    """Add vectors to a Ray dataset, lazily.

    Args:
        dataset: any; its other columns pass through.
        spec: what the vectors mean; None: the built-in model with its defaults.
        text: the column that holds the texts.
        calibration: ``VectorTable.calibration`` for vectors that compare with a table's, or one made by
            `Encoder.calibrate`; None: that of the package's reference texts.
        replicas: as in `embed`.
        device: as in `embed`.

    Returns:
        The dataset with the columns vector (list of D float32), hs_norm, rw_norm (float32), n_tokens (int32),
        truncated (bool) and reject: null, or why the row has no vector.
    """
    _refuse_columns(dataset, text)
    resolved, meaning, _ = resolve_spec(spec)
    pool, resources, threads = replica_resources(Replicas.parse(replicas), device)
    plan = EncoderPlan(resolved, meaning, device, threads)
    if calibration is None:
        task: Any = ray.remote(_calibrated_on_reference).options(**resources)
        packed = ray.get(task.remote(plan))
    else:
        packed = to_ipc(calibration.to_arrow())
    return dataset.map_batches(
        VectorStage,
        fn_constructor_args=(replace(plan, calibration=packed), text),
        compute=ActorPoolStrategy(min_size=pool.least, max_size=pool.most),
        batch_size=BATCH_ROWS,
        batch_format="pyarrow",
        **resources,
    )


class VectorStage:
    """Batches of rows → the same rows with vectors. Holds the replica; a plain callable outside Ray."""

    def __init__(self, encoder: EncoderPlan, text: str) -> None:
        self._encoder = encoder.build()
        self._text = text

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Appends the columns that `embed_dataset` lists."""
        texts = batch.column(self._text).cast(pa.large_string())
        blank = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(texts)), 0), False)
        reject = pc.if_else(pc.is_null(texts), "null text", pc.if_else(blank, "empty", pa.scalar(None, pa.string())))
        good = pc.is_null(reject).to_numpy().astype(bool)
        made = self._encoder.vectors_of(self._encoder.tokenize(texts.filter(pa.array(good)).to_pylist()))
        columns = {
            "vector": _spread_vectors(made.vectors, good),
            "hs_norm": _spread(made.hidden_norms, good),
            "rw_norm": _spread(made.routing_norms, good),
            "n_tokens": _spread(made.n_tokens, good),
            "truncated": _spread(made.truncated, good),
            "reject": reject,
        }
        for name, column in columns.items():
            batch = batch.append_column(name, column)
        return batch


def _spread(values: np.ndarray, good: np.ndarray) -> pa.Array:
    """Values of the good rows in their places, null elsewhere."""
    whole = np.zeros(len(good), values.dtype)
    whole[good] = values
    return pa.array(whole, mask=~good)


def _spread_vectors(vectors: np.ndarray, good: np.ndarray) -> pa.Array:
    """A list<float32> column: a list is empty of memory where there is no vector, and null."""
    lengths = np.where(good, vectors.shape[1], 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.reshape(-1)), mask=pa.array(~good))


def _refuse_columns(dataset: ray.data.Dataset, text: str) -> None:
    """Say at once what can be known of the columns without running the dataset."""
    names = dataset.columns(fetch_if_missing=False)
    if names is None:
        return
    if text not in names:
        raise UsageError(f"no column {text!r} in the dataset; there are: {', '.join(names)}")
    taken = sorted(set(names) & MADE)
    if taken:
        raise UsageError(f"the dataset has a column {taken[0]!r}, which the embedding makes: rename or drop it")


def _calibrated_on_reference(plan: EncoderPlan) -> bytes:
    return to_ipc(plan.build().calibration.to_arrow())
