"""Unassigned documents: those of the table that no operation has put into a topic, or into none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.topics.clustering.documents import fragment_of, key_columns, keys_of, raw_batches, usable_documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import lance

    from pipeline.topics.clustering.documents import VectorBatch
    from pipeline.topics.keys import Keys

__all__ = ["has_unassigned", "unassigned_batches", "unassigned_rows"]


def has_unassigned(dataset: lance.LanceDataset, assigned: Keys, fragments: Sequence[int]) -> bool:
    """Whether `fragments` (their numbers) hold documents that are not `assigned`; reads no vectors."""
    if not len(assigned):
        return True
    parts = [fragment_of(dataset, number) for number in fragments]
    batches = dataset.scanner(columns=key_columns(dataset), fragments=parts).to_batches()
    return any(not assigned.holds(keys_of(batch)).all() for batch in batches)


def unassigned_batches(dataset: lance.LanceDataset, assigned: Keys) -> Iterator[VectorBatch]:
    """The documents with a usable vector that are not `assigned`, batch by batch."""
    for raw in raw_batches(dataset):
        batch = usable_documents(unassigned_rows(raw, assigned))
        if len(batch.ids):
            yield batch


def unassigned_rows(batch: pa.RecordBatch, assigned: Keys) -> pa.RecordBatch:
    """The rows of a `batch` of the table that are not `assigned`."""
    if not len(assigned):
        return batch
    known = assigned.holds(keys_of(batch))
    return batch.filter(pa.array(~known)) if known.any() else batch
