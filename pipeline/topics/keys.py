"""Eight bytes a document: which are there, and which of them have a topic already.

A document is told by its id and the slice that it came from: a slice belongs to one version of an input file, so a
document whose file has changed is another one. Fragments of the table do not enter, which compaction renumbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Keys", "document_keys", "id_hashes"]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def id_hashes(ids: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """uint64 [n]: the same for the same id, on every machine and for ever."""
    from pandas.util import hash_array

    return hash_array(np.asarray(ids.to_numpy(zero_copy_only=False), dtype=object), categorize=False)


def document_keys(ids: pa.Array | pa.ChunkedArray, slices: pa.Array | pa.ChunkedArray) -> NDArray[np.uint64]:
    """uint64 [n] from `ids` string [n] and `slices` int64 [n] (null: a table without them)."""
    return id_hashes(ids) ^ _mixed(slices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.uint64))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread over all bits (the finalizer of SplitMix64): ids and slices may be hashes of one kind, or count up."""
    values = values * _GOLDEN
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Keys:
    """A set of documents: their keys, uint64 [n], ascending."""

    values: NDArray[np.uint64]

    @classmethod
    def of(cls, parts: Iterable[NDArray[np.uint64]]) -> Self:
        """The union of `parts`."""
        values = np.concatenate([np.empty(0, dtype=np.uint64), *parts])
        values.sort()
        return cls(values)

    def __len__(self) -> int:
        return len(self.values)

    def holds(self, keys: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of `keys` [n] are in it, bool [n]."""
        if len(self.values) == 0:
            return np.zeros(len(keys), dtype=bool)
        at = np.minimum(np.searchsorted(self.values, keys), len(self.values) - 1)
        return self.values[at] == keys
