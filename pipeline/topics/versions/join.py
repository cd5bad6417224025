"""Joining documents and their topics: one pass over the assignments, then any number of passes over the table.

Topics and texts are in two tables. They are joined on a 64-bit hash of the id, which takes 16 bytes for each document.
(Among 10 million documents, the probability that any two share a hash is 3 in a million.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.columns import string_hashes
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["BATCH_ROWS", "TopicIndex", "column_type", "stream_column"]

BATCH_ROWS: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class TopicIndex:
    """The topics of n documents, by the hash of their ids."""

    hashes: NDArray[np.uint64]
    """uint64 [n], ascending."""
    topics: NDArray[np.int64]
    """int64 [n]; -1: in none."""

    @classmethod
    def of(cls, topics: Topics, mad: float | None = None) -> TopicIndex:
        """Read the assignments of a model; `mad` as in `Topics.assignments`."""
        hashes, found = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for batch in topics.stream(["id", "topic"], mad):
            hashes.append(string_hashes(batch.column("id")))
            found.append(batch.column("topic").to_numpy())
        joined = np.concatenate(hashes)
        order = np.argsort(joined, kind="stable")
        return cls(joined[order], np.concatenate(found)[order])

    def __len__(self) -> int:
        return len(self.hashes)

    def find(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Whether each of `hashes` [m] is known, bool [m], and the topics of those that are, int64 [known]."""
        if not len(self):
            return np.zeros(len(hashes), dtype=np.bool_), np.empty(0, dtype=np.int64)
        at = np.minimum(np.searchsorted(self.hashes, hashes), len(self) - 1)
        known = self.hashes[at] == hashes
        return known, self.topics[at[known]]


def column_type(topics: Topics, column: str) -> pa.DataType:
    """The type of a column of the vector table.

    Raises:
        UsageError: it has no such column.
    """
    schema = topics.tables.vectors().schema
    if column not in schema.names:
        there = ", ".join(name for name in schema.names if name != "vector")
        raise UsageError(f"{topics.tables.location} has no column {column!r}; it has {there} (embed --keep adds more)")
    return schema.field(column).type


def stream_column(topics: Topics, index: TopicIndex, column: str) -> Iterator[tuple[pa.Array, NDArray[np.int64]]]:
    """Values of `column` and topics int64 of the documents that the model knows, batch by batch."""
    for batch in topics.tables.vectors().to_batches(columns=list({"id", column}), batch_size=BATCH_ROWS):
        known, found = index.find(string_hashes(batch.column("id")))
        if len(found):
            yield batch.column(column).filter(pa.array(known)), found
