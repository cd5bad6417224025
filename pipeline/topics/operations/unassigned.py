"""Which documents of the table have no topic yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.topics.clustering.documents import fragment_of, raw_batches, slices_of, usable_documents
from pipeline.topics.keys import document_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import lance
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.topics.clustering.documents import VectorBatch
    from pipeline.topics.keys import Keys

__all__ = ["any_pending", "keys_of", "pending_batches", "pending_rows"]


def any_pending(dataset: lance.LanceDataset, assigned: Keys, fragments: Sequence[int]) -> bool:
    """Whether `fragments` (their numbers) hold documents that are not `assigned`; reads no vectors."""
    if not len(assigned):
        return True
    columns = ["id", *(["slice"] if "slice" in dataset.schema.names else [])]
    parts = [fragment_of(dataset, number) for number in fragments]
    batches = dataset.scanner(columns=columns, fragments=parts).to_batches()
    return any(not assigned.holds(keys_of(batch)).all() for batch in batches)


def pending_batches(
    dataset: lance.LanceDataset, assigned: Keys, fragments: Sequence[int] | None = None, *, with_texts: bool = False
) -> Iterator[VectorBatch]:
    """The usable documents that are not `assigned`, of some `fragments` or of all, batch by batch."""
    for raw in raw_batches(dataset, fragments, with_texts=with_texts):
        batch = usable_documents(pending_rows(raw, assigned))
        if len(batch.ids):
            yield batch


def pending_rows(batch: pa.RecordBatch, assigned: Keys) -> pa.RecordBatch:
    """The rows of a `batch` of the table that are not `assigned`."""
    if not len(assigned):
        return batch
    known = assigned.holds(keys_of(batch))
    return batch.filter(pa.array(~known)) if known.any() else batch


def keys_of(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """The keys of a batch of the table, uint64 [rows]."""
    return document_keys(batch.column("id"), slices_of(batch))
