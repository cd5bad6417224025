"""Adding documents whose vectors were made elsewhere: the commit protocol of a run, with one slice for each call.

The slice is the hash of the ids and vectors, so the same call twice adds nothing the second time.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, cast

import numpy as np
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.table.commit.committer import Committer
from pipeline.table.companions.runs import new_run
from pipeline.table.fragments.staging import stage
from pipeline.table.schema import VECTOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.location import TableLocation

__all__ = ["Added", "add_rows"]

_SOURCE = "added"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of an addition: documents added, and documents that went to the rejects."""

    rows: int
    rejects: int


def add_rows(
    location: TableLocation,
    schema: pa.Schema,
    ids: Sequence[str],
    vectors: np.ndarray,
    *,
    texts: Sequence[str] | None,
    metadata: pa.Table | None,
) -> Added:
    """Stage and commit; arguments as in `VectorTable.add`."""
    rows = _rows(schema, pa.array(ids, pa.string()), np.asarray(vectors, np.float32), texts, metadata)
    with Committer(location, new_run()) as committer:
        committer.add(stage(location, rows))
        committer.flush()
        return Added(committer.totals.rows, committer.totals.rejects)


def _rows(
    schema: pa.Schema, ids: pa.Array, vectors: np.ndarray, texts: Sequence[str] | None, metadata: pa.Table | None
) -> pa.Table:
    count, dim = len(ids), cast("pa.FixedSizeListType", schema.field(VECTOR).type).list_size
    if vectors.shape != (count, dim):
        raise UsageError(f"{count} ids need vectors of the shape {(count, dim)}, not {vectors.shape}")
    with np.errstate(over="ignore"):
        stored = vectors.astype(np.float16)
    if not np.isfinite(stored).all():
        raise UsageError("a vector holds a value that is not finite as float16")
    if ids.null_count:
        raise UsageError(f"{ids.null_count} of {count} ids are missing")
    if not stored.any(axis=1).all():
        raise UsageError("a vector of nothing but zeros has no direction to compare")
    for what, given in (("texts", texts), ("metadata rows", metadata)):
        if given is not None and len(given) != count:
            raise UsageError(f"{count} ids, but {len(given)} {what}")
    number = _slice_of(ids, stored)
    columns = {
        "id": ids,
        VECTOR: pa.FixedSizeListArray.from_arrays(pa.array(stored.ravel()), dim),
        "source": pa.array([_SOURCE] * count, pa.string()),
        "slice": pa.array(np.full(count, number)),
        "row": pa.array(np.arange(count)),
    }
    if texts is not None:
        columns["text"] = pa.array(texts, pa.string())
    table = pa.table(columns)
    for name in metadata.column_names if metadata is not None else ():
        if name in table.column_names:
            raise UsageError(f"metadata column {name!r}: the table has a column of that name of its own")
        table = table.append_column(name, metadata.column(name))  # pyright: ignore[reportOptionalMemberAccess]
    return table


def _slice_of(ids: pa.Array, vectors: np.ndarray) -> np.int64:
    digest = blake2b(digest_size=8)
    digest.update("\0".join(ids.to_pylist()).encode())
    digest.update(np.ascontiguousarray(vectors).tobytes())
    return np.frombuffer(digest.digest(), "<i8")[0]
