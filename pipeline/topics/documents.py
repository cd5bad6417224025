"""Reading the table: which documents are clustered, and in which order.

Always in the order of a hash of the id, so that a fit depends on what the table holds and not on who wrote it when;
where there are too many, the lowest hashes are the sample.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import pyarrow as pa

from pipeline.errors import TopicError
from pipeline.topics.geometry import unit_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lance import LanceDataset
    from numpy.typing import NDArray

__all__ = ["Documents", "VectorBatch", "read_sample", "stream_vectors"]

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 16_384


class _Table(Protocol):
    """A pa.Table or a pa.RecordBatch."""

    @property
    def schema(self) -> pa.Schema: ...
    def column(self, i: str, /) -> pa.Array | pa.ChunkedArray: ...


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Usable documents: `ids` string [n], unit `vectors` float32 [n, D], `slices` int64 [n] (null: no such column)."""

    ids: pa.Array
    vectors: NDArray[np.float32]
    slices: pa.Array


@dataclass(frozen=True, slots=True)
class Documents(VectorBatch):
    """The documents that are clustered, in hash order, with their texts."""

    texts: list[str]
    is_sample: bool
    """Whether the table holds more documents than these."""


def read_sample(dataset: LanceDataset, limit: int) -> Documents:
    """Read all documents, or the `limit` with the lowest id hashes.

    Raises:
        TopicError: the table has no documents, or keeps no text.
    """
    missing = {"id", "text", "vector"} - set(dataset.schema.names)
    if missing:
        raise TopicError(f"{dataset.uri} has no column {min(missing)!r}: topics need id, text and vector")
    hashes = _id_hashes(dataset)
    if len(hashes) == 0:
        raise TopicError(f"{dataset.uri} holds no documents: embed some first")
    is_sample = len(hashes) > limit
    if is_sample:
        rows = np.sort(np.argpartition(hashes, limit)[:limit])
        hashes = hashes[rows]
        table = dataset.take(pa.array(rows), columns=_columns(dataset, "text"))
    else:
        table = dataset.to_table(columns=_columns(dataset, "text"))
    usable, vectors = _usable(table)
    if len(vectors) < table.num_rows:
        logger.warning("%d documents without a usable vector are left out", table.num_rows - len(vectors))
    order = np.argsort(hashes[usable.to_numpy(zero_copy_only=False)], kind="stable")
    kept = table.filter(usable)
    # Reordered as Python strings, which BERTopic needs anyway: `take` on Arrow strings ends at 2 GiB of text.
    texts = kept.column("text").to_pylist()
    return Documents(
        ids=_flat(kept.column("id")).take(pa.array(order)),
        vectors=vectors[order],
        slices=_slices(kept).take(pa.array(order)),
        texts=[texts[row] or "" for row in order],
        is_sample=is_sample,
    )


def stream_vectors(dataset: LanceDataset) -> Iterator[VectorBatch]:
    """All usable documents of the table, batch by batch, in the table's own order."""
    for batch in dataset.to_batches(columns=_columns(dataset), batch_size=BATCH_ROWS):
        usable, vectors = _usable(batch)
        kept = batch.filter(usable)
        if kept.num_rows:
            yield VectorBatch(kept.column("id"), vectors, _slices(kept))


def _columns(dataset: LanceDataset, *more: str) -> list[str]:
    return ["id", "vector", *more, *(["slice"] if "slice" in dataset.schema.names else [])]


def _id_hashes(dataset: LanceDataset) -> NDArray[np.uint64]:
    """uint64 [rows]: 8 bytes a document are all that a table of any size takes here."""
    from pandas.util import hash_array

    batches = dataset.to_batches(columns=["id"], batch_size=BATCH_ROWS)
    hashed = [hash_array(batch.column("id").to_numpy(zero_copy_only=False), categorize=False) for batch in batches]
    return np.concatenate([np.empty(0, dtype=np.uint64), *hashed])


def _usable(table: _Table) -> tuple[pa.Array, NDArray[np.float32]]:
    """Which rows have a finite vector that is not zero (bool [n]), and those vectors at unit length."""
    column = _flat(table.column("vector"))
    dimension = column.type.list_size
    present = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension).astype(np.float32)
    good = np.isfinite(values).all(axis=1) & values.any(axis=1)
    present[present] = good
    return pa.array(present), unit_rows(values[good])


def _slices(table: _Table) -> pa.Array:
    if "slice" in table.schema.names:
        return _flat(table.column("slice"))
    return pa.nulls(len(table.column("id")), pa.int64())


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
