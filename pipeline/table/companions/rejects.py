"""The rejects beside a table: which documents it does not hold, and why. One row per slice and row.

Rejects are written before the commit that finishes their slice, so a crash in between, or a driver that loses its
race, may leave a reject for a document that somebody then accepts. The rule that keeps the two apart: a row in the
table outweighs its reject, and `drop_stale` removes such rejects. Tombstones (reason ``deleted``) are the exception:
they keep a deleted document from coming back, are never replaced by other rejects, and outlive their file elsewhere
(`pipeline.table.changes.pruning`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.companions.upsert import upsert
from pipeline.table.places import PLACE, held
from pipeline.table.schema import REJECTS
from pipeline.table.store import open_dataset, read_all, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lance

    from pipeline.table.location import TableLocation

__all__ = [
    "COPY",
    "DELETED",
    "DUPLICATE",
    "FINAL",
    "KILLER",
    "SUSPECT",
    "WIDOWED",
    "as_rejects",
    "count_rejects",
    "deleted_ids",
    "drop_stale",
    "list_rejects",
    "one_per_row",
    "read_rejects",
    "reject_counts",
    "write_rejects",
]

logger = logging.getLogger(__name__)

DUPLICATE: Final = "duplicate id"
DELETED: Final = "deleted"
COPY: Final = "duplicate of "
COPIES: Final = f"{COPY}another"
"""What the reason of a later copy of a text begins with; the id of the document that has the text follows."""

WIDOWED: Final = "its twin has gone"
"""A duplicate whose holder went with a file since: it is tried again unasked (`pipeline.table.changes.duplicates`)."""

KILLER: Final = "kills its process"
SUSPECT: Final = "killed its process once"
"""Written as soon as it happens, before the slice is decided (`pipeline.flow.poison.items`)."""

FINAL: Final = frozenset({"null text", "empty", "missing id", "malformed row", "not UTF-8", DELETED})
"""Reasons that the bytes of a file decide, or its owner: they cannot pass. All others can."""

_CHUNK: Final = 1_000_000
"""Suspects held at a time: 16 MB of keys."""


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
    places = rejects.select(PLACE).append_column("at", pa.array(np.arange(rejects.num_rows)))
    last = places.group_by(PLACE).aggregate([("at", "max")]).column("at_max")
    return rejects if len(last) == rejects.num_rows else rejects.take(last.combine_chunks().sort())


def write_rejects(location: TableLocation, rejects: pa.Table) -> None:
    """Upsert by slice and row: a redone slice replaces its rejects, a tombstone stays."""
    upsert(location.sibling("rejects"), rejects, PLACE, unless=f"target.reason = '{DELETED}'")


def read_rejects(location: TableLocation, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
    """All rejects of a table, or those for which `filter` holds."""
    return read_all(location.sibling("rejects"), REJECTS, filter)


def list_rejects(location: TableLocation, limit: int, reason: str | None = None) -> pa.Table:
    """At most `limit` rejects (REJECTS), of one `reason` as `reject_counts` names it or of all, by source and row."""
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None or limit < 1:
        return REJECTS.empty_table()
    wanted = f"reason LIKE '{COPY}%'" if reason == COPIES else None if reason is None else pc.field("reason") == reason
    with storage_errors("read the rejects of", location):
        found = dataset.to_table(columns=REJECTS.names, filter=wanted, limit=limit)
    return found.sort_by([("source", "ascending"), ("row", "ascending")])


def deleted_ids(location: TableLocation) -> pa.Array:
    """The ids, distinct, of the documents that were deleted for good."""
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None:
        return pa.array([], pa.string())
    with storage_errors("read the rejects of", location):
        return dataset.to_table(columns=["id"], filter=pc.field("reason") == pc.scalar(DELETED)).column("id").unique()


def reject_counts(location: TableLocation) -> dict[str, int]:
    """Reason → how many documents, most frequent first; all copies under one (`COPIES`)."""
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None:
        return {}
    with storage_errors("read the rejects of", location):
        reasons = dataset.to_table(columns=["reason"]).column("reason")
    counted = pc.if_else(pc.starts_with(reasons, COPY), COPIES, reasons).value_counts()
    pairs = cast("list[dict[str, Any]]", counted.to_pylist())
    return {str(pair["values"]): int(pair["counts"]) for pair in sorted(pairs, key=lambda pair: -int(pair["counts"]))}


def count_rejects(location: TableLocation, reason: str, run: str | None = None) -> int:
    """How many documents were rejected for exactly this reason, in one run or at any time."""
    dataset = open_dataset(location.sibling("rejects"))
    wanted = pc.field("reason") == reason
    wanted = wanted if run is None else wanted & (pc.field("run") == run)
    if dataset is None:
        return 0
    with storage_errors("read the rejects of", location):
        return dataset.count_rows(filter=wanted)


def drop_stale(location: TableLocation, dataset: lance.LanceDataset) -> int:
    """Remove the rejects of rows that are in the table, and of slices that were read after all; returns how many.

    Only rejects whose reason can pass (`FINAL`) can be contradicted later.
    """
    rejects = open_dataset(location.sibling("rejects"))
    if rejects is None:
        return 0
    doubtful = ~pc.field("reason").isin(list(FINAL))
    dropped = 0
    with storage_errors("clean up the rejects of", location):
        for suspects in _chunks(rejects, doubtful & (pc.field("row") >= 0)):
            dropped += _drop(rejects, suspects.filter(pa.array(held(dataset, suspects))))
        for suspects in _chunks(rejects, doubtful & (pc.field("row") < 0)):
            dropped += _drop(rejects, _settled(dataset, rejects, suspects))
    if dropped:
        logger.info("removed %d rejects of documents that %s holds after all", dropped, location)
    return dropped


def _drop(rejects: lance.LanceDataset, stale: pa.Table) -> int:
    if stale.num_rows:
        rejects.merge_insert(PLACE).when_matched_delete().execute(stale)
        rejects.checkout_latest()
    return stale.num_rows


def _settled(dataset: lance.LanceDataset, rejects: lance.LanceDataset, suspects: pa.Table) -> pa.Table:
    """Those of the suspects, slices rejected as a whole, of which there are rows, or all rows among the rejects."""
    slices = suspects.column("slice").unique()
    here = pc.field("slice").isin(slices)
    stored = dataset.to_table(columns=["slice"], filter=here).column("slice").unique()
    rows = rejects.to_table(columns=["slice", "slice_rows"], filter=here & (pc.field("row") >= 0))
    counts = rows.group_by("slice").aggregate([("slice_rows", "count"), ("slice_rows", "max")])
    whole = counts.filter(pc.greater_equal(counts["slice_rows_count"], counts["slice_rows_max"])).column("slice")
    settled = np.isin(slices.to_numpy(), np.concatenate([stored.to_numpy(), whole.to_numpy()]))
    return suspects.filter(pc.is_in(suspects.column("slice"), value_set=slices.filter(pa.array(settled))))


def _chunks(rejects: lance.LanceDataset, doubtful: pc.Expression) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in rejects.scanner(columns=PLACE, filter=doubtful).to_batches():
        waiting.append(batch)
        if sum(len(part) for part in waiting) >= _CHUNK:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)
