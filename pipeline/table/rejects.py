"""The rejects beside a table: which documents it does not hold, and why. One row per slice and row.

Rejects are written before the commit that finishes their slice, so a crash in between, or a driver that loses its
race, may leave a reject for a document that somebody then accepts. The rule that keeps the two apart: a row in the
table outweighs its reject, and `drop_stale` removes such rejects. Tombstones (reason ``deleted``) are the exception:
they are never replaced and never removed, and they keep a deleted document from coming back.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.schema import REJECTS
from pipeline.table.store import open_dataset, read_all, storage_errors, upsert

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lance

    from pipeline.table.location import TableLocation

__all__ = [
    "DELETED",
    "DUPLICATE",
    "as_rejects",
    "deleted_ids",
    "drop_stale",
    "one_per_row",
    "read_rejects",
    "reject_counts",
    "write_rejects",
]

logger = logging.getLogger(__name__)

DUPLICATE: Final = "duplicate id"
DELETED: Final = "deleted"

_CHUNK: Final = 1_000_000
"""Suspects held at a time: 16 MB of keys."""

_PAIR: Final = ["slice", "row"]


def as_rejects(rows: pa.Table, run: str) -> pa.Table:
    """`rows` (REJECTS, with or without ``run``) in the stored columns, as of `run`."""
    arrays = [
        pa.array([run] * rows.num_rows, pa.string())
        if field.name == "run"
        else rows.column(field.name).cast(field.type)
        for field in REJECTS
    ]
    return pa.Table.from_arrays(arrays, schema=REJECTS)


def one_per_row(rejects: pa.Table) -> pa.Table:
    """The last of the rejects of each slice and row."""
    places = rejects.select(_PAIR).append_column("at", pa.array(np.arange(rejects.num_rows)))
    last = places.group_by(_PAIR).aggregate([("at", "max")]).column("at_max")
    return rejects if len(last) == rejects.num_rows else rejects.take(last.combine_chunks().sort())


def write_rejects(location: TableLocation, rejects: pa.Table) -> None:
    """Upsert by slice and row: a redone slice replaces its rejects, a tombstone stays."""
    upsert(location.sibling("rejects"), rejects, _PAIR, unless=f"target.reason = '{DELETED}'")


def read_rejects(location: TableLocation, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
    """All rejects of a table, or those for which `filter` holds."""
    return read_all(location.sibling("rejects"), REJECTS, filter)


def deleted_ids(location: TableLocation) -> pa.Array:
    """The ids, distinct, of the documents that were deleted for good."""
    deleted = read_rejects(location, pc.field("reason") == pc.scalar(DELETED))
    return deleted.column("id").unique()


def reject_counts(location: TableLocation) -> dict[str, int]:
    """Reason → how many documents, most frequent first."""
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None:
        return {}
    counted = dataset.to_table(columns=["reason"]).column("reason").value_counts()
    pairs = cast("list[dict[str, Any]]", counted.to_pylist())
    return {str(pair["values"]): int(pair["counts"]) for pair in sorted(pairs, key=lambda pair: -int(pair["counts"]))}


def drop_stale(location: TableLocation, dataset: lance.LanceDataset) -> int:
    """Remove the rejects of rows that are in the table; returns how many.

    Only rejects that depend on what else was in the batch, the commit or the process can be contradicted later:
    duplicates, and what the embedding or the commit refused.
    """
    rejects = open_dataset(location.sibling("rejects"))
    if rejects is None:
        return 0
    contradictable = (pc.field("reason") == DUPLICATE) | pc.field("stage").isin(["embed", "commit"])
    doubtful = contradictable & (pc.field("reason") != DELETED) & (pc.field("row") >= 0)
    dropped = 0
    with storage_errors("clean up the rejects of", location):
        for suspects in _chunks(rejects, doubtful):
            stale = _present(dataset, suspects)
            if stale.num_rows:
                rejects.merge_insert(_PAIR).when_matched_delete().execute(stale)
                rejects.checkout_latest()
                dropped += stale.num_rows
    if dropped:
        logger.info("removed %d rejects of documents that %s holds after all", dropped, location)
    return dropped


def _chunks(rejects: lance.LanceDataset, doubtful: pc.Expression) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in rejects.scanner(columns=_PAIR, filter=doubtful).to_batches():
        held.append(batch)
        if sum(len(part) for part in held) >= _CHUNK:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _present(dataset: lance.LanceDataset, suspects: pa.Table) -> pa.Table:
    """Those of the suspects, by slice and row, that the table holds."""
    keys = suspects.cast(pa.schema([(name, pa.int64()) for name in _PAIR]))
    slices = keys.column("slice").unique()
    found: list[pa.Table] = []
    for batch in dataset.scanner(columns=_PAIR).to_batches():
        rows = pa.Table.from_batches([batch]).filter(pc.is_in(batch.column("slice"), value_set=slices))
        if rows.num_rows:
            rows = rows.cast(keys.schema)
            found.append(rows.join(keys, keys=_PAIR, join_type="left semi"))
    return pa.concat_tables(found) if found else keys.slice(0, 0)
