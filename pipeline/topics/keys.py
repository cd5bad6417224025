"""A document's key: eight bytes by which sets of documents are compared.

A key is made of a document's id and of the slice that it came from. A slice belongs to one version of an input file, so
a document whose file has changed gets another key. Fragments of the table do not enter: compaction renumbers them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from pipeline.columns import is_in_sorted, string_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Keys", "document_keys"]


def document_keys(ids: pa.Array | pa.ChunkedArray, slices: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """uint64 [n] from `ids` string [n] and `slices` int64 [n] (null: a table without slices)."""
    from pandas.util import hash_array

    # Slices are hashed too: ids and slices may be hashes of one kind, or count up, and equal bits would cancel.
    return string_hashes(ids) ^ hash_array(slices.fill_null(0).to_numpy(zero_copy_only=False))


@dataclass(frozen=True, slots=True)
class Keys:
    """A set of documents."""

    values: NDArray[np.uint64]
    """Their keys, uint64 [n], ascending."""

    @classmethod
    def of(cls, parts: Iterable[NDArray[np.uint64]]) -> Self:
        """The union of `parts`."""
        values = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        values.sort()
        return cls(values)

    @classmethod
    def of_rows(cls, rows: Iterable[pa.RecordBatch | pa.Table]) -> Self:
        """The documents of rows with the columns `id` and `slice`."""
        return cls.of(document_keys(batch.column("id"), batch.column("slice")) for batch in rows)

    def __len__(self) -> int:
        return len(self.values)

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """For each of `keys` [n] whether it is in the set, bool [n]."""
        return is_in_sorted(keys, self.values)
