"""Which half of a table's vectors, and which α, finds documents of the same label: measured on its own rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import as_matrix
from pipeline.embedding.ablation import Ablation, StoredHalves, ablate
from pipeline.embedding.combine import split
from pipeline.errors import UsageError
from pipeline.table.fragments.rows import take_rows
from pipeline.table.schema import VECTOR, document_column
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance

    from pipeline.spec import Combine, EmbeddingSpec
    from pipeline.table.location import TableLocation

__all__ = ["ablate_table"]


def ablate_table(
    location: TableLocation,
    dataset: lance.LanceDataset,
    spec: EmbeddingSpec,
    hidden: int,
    truth: str,
    *,
    rows: int,
    queries: int,
    seed: int,
) -> Ablation:
    """Precision@10 of every way to combine the stored halves, compared with the table's own.

    Args:
        location: for messages.
        dataset: the table's.
        spec: the resolved spec of its vectors.
        hidden: H, the size of the hidden state.
        truth: the column with the labels; rows without one are left out.
        rows: at most so many random rows are measured on.
        queries: at most so many of them are asked for their neighbours.
        seed: of the draw.

    Raises:
        UsageError: there is no such column, one half only is stored, or there is too little to measure.
        TableError: the table cannot be read.
    """
    combine = spec.combine or "sum"
    if combine in {"hs", "rw"}:
        raise UsageError(f"{location} stores one half only ({combine}): there is nothing to compare")
    if truth not in dataset.schema.names or pa.types.is_nested(dataset.schema.field(truth).type):
        plain = [field.name for field in dataset.schema if not pa.types.is_nested(field.type)]
        raise UsageError(f"{location} has no column {truth!r} of labels; there are {', '.join(plain)}")
    random = np.random.default_rng(seed)
    document = document_column(dataset.schema)
    columns = list(dict.fromkeys([VECTOR, "hs_norm", "rw_norm", document, truth]))
    with storage_errors("read", location):
        count = dataset.count_rows()
        drawn = np.sort(random.choice(count, min(rows, count), replace=False))
        found = take_rows(dataset, drawn, columns)
    found = found.filter(pc.is_valid(found.column(truth)))
    labels, documents = (_numbers(found.column(name)) for name in (truth, document))
    asked = np.sort(random.permutation(found.num_rows)[:queries])
    used = (combine, 1.0 if combine == "sum" and spec.alpha is None else spec.alpha if combine == "sum" else None)
    return ablate(_halves(found, combine, hidden), labels, documents, asked, used)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Equal values → equal numbers, int64 [n]."""
    return column.combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)


def _halves(found: pa.Table, combine: Combine, hidden: int) -> StoredHalves:
    vectors = as_matrix(found.column(VECTOR))
    h, r = split(vectors, combine, hidden)
    if combine == "concat":  # its parts are as long as the halves, all by one factor
        parts = (vectors[:, :hidden].astype(np.float32), vectors[:, hidden:].astype(np.float32))
        norms = np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1)
    else:
        norms = np.stack([found.column(name).to_numpy() for name in ("hs_norm", "rw_norm")], axis=1)
    return StoredHalves(h.astype(np.float16), r.astype(np.float16), norms.astype(np.float32))
