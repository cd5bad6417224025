"""Small operations on whole columns that several rooms need: membership, equals, hashes, Arrow streams, alignment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "OTHER_HASH",
    "aligned",
    "aligned_batches",
    "as_matrix",
    "first_alike",
    "from_ipc",
    "is_among",
    "is_in_sorted",
    "string_hashes",
    "to_ipc",
]

FIRST_HASH: Final = "0123456789123456"
OTHER_HASH: Final = "0moee text hash1"
"""A second key for `string_hashes`: both together tell strings apart by 128 bits."""


def as_matrix(vectors: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """A column of fixed-size lists without nulls as a matrix [n, D] of its own number type."""
    joined = vectors.combine_chunks() if isinstance(vectors, pa.ChunkedArray) else vectors
    flat = joined.flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(len(vectors), vectors.type.list_size)


def is_in_sorted(values: np.ndarray, sorted_values: np.ndarray) -> np.ndarray:
    """For each of `values` [n] whether it is one of `sorted_values`, which ascend; bool [n].

    Memory does not grow with `sorted_values`, as it does in `numpy.isin`.
    """
    if not len(sorted_values):
        return np.zeros(len(values), bool)
    at = np.minimum(np.searchsorted(sorted_values, values), len(sorted_values) - 1)
    return sorted_values[at] == values


def is_among(table: pa.Table, others: pa.Table, keys: list[str]) -> np.ndarray:
    """For each row of `table` whether `others` has one with the same `keys`, bool [n]."""
    numbered = table.select(keys).append_column("at", pa.array(np.arange(table.num_rows)))
    found = numbered.join(others.select(keys), keys=keys, join_type="left semi").column("at")
    mask = np.zeros(table.num_rows, bool)
    mask[found.to_numpy()] = True
    return mask


def first_alike(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """For each position the first position with the same value, int64 [n]."""
    joined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    codes = joined.dictionary_encode(null_encoding="encode").indices.to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first[inverse]


def string_hashes(values: pa.Array | pa.ChunkedArray, key: str = FIRST_HASH) -> np.ndarray:
    """64 bits of each string, uint64 [n]: the same on every machine, forever; others under another 16-character key."""
    # pandas takes 0.3 s to import, which a worker that only reads need not spend.
    from pandas.util import hash_array

    joined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    strings = np.asarray(joined.to_numpy(zero_copy_only=False), object)
    return hash_array(strings, hash_key=key, categorize=False)


def to_ipc(table: pa.Table) -> bytes:
    """A table as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def from_ipc(data: pa.Buffer | bytes) -> pa.Table:
    """The inverse of `to_ipc`; columns point into `data`."""
    return pa.ipc.open_stream(data).read_all()


def aligned(table: pa.Table) -> pa.Table:
    """A copy for Rust, where 128-bit integers begin at multiples of 16 and anything else makes the process panic.

    What comes out of an Arrow stream, as all that Ray passes on does, begins at multiples of 8. Copying goes through a
    stream too: it holds every buffer of every type, nested ones and dictionaries included.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    options = pa.ipc.IpcReadOptions(ensure_alignment=pa.ipc.Alignment.At64Byte)
    return pa.ipc.open_stream(sink.getvalue(), options=options).read_all()


def aligned_batches(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
    """A reader of `batches`, each of them `aligned` as it passes."""
    copies = (aligned(pa.Table.from_batches([batch], schema)) for batch in batches)
    return pa.RecordBatchReader.from_batches(schema, (one for copy in copies for one in copy.to_batches()))
