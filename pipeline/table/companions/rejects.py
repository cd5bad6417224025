"""What a table does not hold: rejected documents, and marks of slices that are finished without a row.

    NAME.rejects    a row for each slice and row: which document, and why
    NAME.slices     slices all of whose documents were rejected, or deleted for good

Rejects are written before the commit that finishes their slice. So a driver that dies in between, or loses its race,
may leave a reject for a document that another commit accepts. The rule that keeps the two apart: a row in the table
outweighs its reject, and `drop_overtaken` removes such rejects.

The table's own ``slice`` column tells of the slices that have rows. A mark is true only as long as the rejects that it
stands for are there, so it carries its file and goes before them. Where the table does have rows of a marked slice, the
rows count.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import aligned, is_among, is_in_sorted
from pipeline.errors import TableError
from pipeline.rejects import COPIES, COPY, DELETED, DUPLICATE, FINAL, KILLED_ONCE, PLACE, REJECTS, count_reasons
from pipeline.table import steps
from pipeline.table.companions.upsert import delete_rows, upsert
from pipeline.table.schema import SLICES
from pipeline.table.store import open_dataset, read_all, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import lance

    from pipeline.table.location import TableLocation

__all__ = [
    "drop_overtaken",
    "drop_overtaken_marks",
    "failures_by_source",
    "forget_marks",
    "in_table",
    "list_rejects",
    "mark_slices",
    "marked_slices",
    "one_per_row",
    "read_marks",
    "read_rejects",
    "refuse_first_layout",
    "reject_counts",
    "remove_rejects",
    "write_rejects",
]

logger = logging.getLogger(__name__)

MAX_ROWS_LOOKED_UP: Final = 1_000_000
"""Rejects compared with the table at a time: 16 MB of keys."""


def one_per_row(rejected: pa.Table) -> pa.Table:
    """The last of the rejects of each slice and row."""
    places = rejected.select(PLACE).append_column("at", pa.array(np.arange(rejected.num_rows)))
    last = places.group_by(PLACE).aggregate([("at", "max")]).column("at_max")
    return rejected if len(last) == rejected.num_rows else rejected.take(last.combine_chunks().sort())


def write_rejects(location: TableLocation, rejected: pa.Table) -> None:
    """Upsert by slice and row: a slice that is read again replaces its rejects."""
    upsert(location.sibling("rejects"), rejected, PLACE)


def remove_rejects(location: TableLocation, condition: pc.Expression) -> int:
    """Remove the rejects for which `condition`, on source and slice, holds, and their marks; returns how many."""
    forget_marks(location, condition)
    steps.reached("marks removed")
    return delete_rows(location.sibling("rejects"), condition)


def read_rejects(location: TableLocation, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
    """All rejects of a table, or those for which `filter` holds."""
    return read_all(location.sibling("rejects"), REJECTS, filter)


def refuse_first_layout(location: TableLocation) -> None:
    """Refuse rejects that the first layout has left: they hold what was deleted for good in a form of its own.

    Raises:
        TableError: there are such rejects.
    """
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is not None and "slice_rows" in dataset.schema.names:
        raise TableError(
            f"{location}.rejects was written by an earlier version (layout 1): embed into a table of another name, and "
            "delete there again what must not come back, which the old rejects name with the reason 'deleted'"
        )


def list_rejects(location: TableLocation, limit: int, reason: str | None = None) -> pa.Table:
    """At most `limit` rejects (REJECTS), of one `reason` as `reject_counts` names it or of all, by source and row."""
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None or limit < 1:
        return REJECTS.empty_table()
    wanted = f"reason LIKE '{COPY}%'" if reason == COPIES else None if reason is None else pc.field("reason") == reason
    with storage_errors("read the rejects of", location):
        found = dataset.to_table(columns=REJECTS.names, filter=wanted, limit=limit)
    return found.sort_by([("source", "ascending"), ("row", "ascending")])


def reject_counts(location: TableLocation) -> dict[str, int]:
    """Reason → how many documents, most frequent first; all copies under one (`COPIES`)."""
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None:
        return {}
    with storage_errors("read the rejects of", location):
        return count_reasons(dataset.to_table(columns=["reason"]).column("reason"))


def failures_by_source(location: TableLocation, run: str) -> pa.Table:
    """What `run` rejected for other reasons than that it is there already or was deleted: source, reason of the first.

    One row for each source, in order.
    """
    dataset = open_dataset(location.sibling("rejects"))
    if dataset is None:
        return REJECTS.empty_table().select(["source", "reason"])
    with storage_errors("read the rejects of", location):
        found = dataset.to_table(columns=["source", "reason"], filter=pc.field("run") == run)
    is_known = pc.or_(
        pc.starts_with(found.column("reason"), COPY),
        pc.is_in(found.column("reason"), value_set=pa.array([DUPLICATE, DELETED, KILLED_ONCE])),
    )
    by_source = found.filter(pc.invert(is_known)).group_by("source", use_threads=False).aggregate([("reason", "first")])
    return by_source.rename_columns(["source", "reason"]).sort_by("source")


def drop_overtaken(location: TableLocation, dataset: lance.LanceDataset) -> int:
    """Remove the rejects of rows that are in the table, and of slices that were read after all; returns how many.

    Only rejects whose reason can pass (`FINAL`) can be overtaken.
    """
    rejected = open_dataset(location.sibling("rejects"))
    if rejected is None:
        return 0
    can_pass = ~pc.field("reason").isin(list(FINAL))
    dropped = 0
    with storage_errors("clean up the rejects of", location):
        for some in _chunks(rejected, can_pass & (pc.field("row") >= 0)):
            dropped += _drop(rejected, some.filter(pa.array(in_table(dataset, some))))
        for some in _chunks(rejected, can_pass & (pc.field("row") < 0)):
            dropped += _drop(rejected, _read_after_all(location, dataset, rejected, some))
    if dropped:
        logger.info("removed %d rejects of documents that %s holds after all", dropped, location)
    return dropped


def _drop(rejected: lance.LanceDataset, overtaken: pa.Table) -> int:
    if overtaken.num_rows:
        rejected.merge_insert(PLACE).when_matched_delete().execute(aligned(overtaken))
        rejected.checkout_latest()
    return overtaken.num_rows


def _read_after_all(
    location: TableLocation, dataset: lance.LanceDataset, rejected: lance.LanceDataset, whole: pa.Table
) -> pa.Table:
    """Those of `whole`, slices rejected as a whole, that have rows in the table, or were finished row by row since.

    The run that finished a slice is in its mark. Rejects of rows that another run has left say nothing: it may have
    died before it committed the other rows of the slice.
    """
    slices = whole.column("slice").unique()
    here = pc.field("slice").isin(slices)
    stored = dataset.to_table(columns=["slice"], filter=here).column("slice").unique()
    by_row = here & (pc.field("row") >= 0) & (pc.field("reason") != KILLED_ONCE)
    refused = rejected.to_table(columns=["slice", "run"], filter=by_row)
    marks = read_marks(location, here).select(["slice", "run"])
    finished = refused.join(marks, keys=["slice", "run"], join_type="left semi").column("slice")
    read = pa.chunked_array([stored, *finished.chunks], pa.int64())
    return whole.filter(pc.is_in(whole.column("slice"), value_set=read.combine_chunks()))


def _chunks(rejects: lance.LanceDataset, condition: pc.Expression) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in rejects.scanner(columns=PLACE, filter=condition).to_batches():
        waiting.append(batch)
        if sum(len(part) for part in waiting) >= MAX_ROWS_LOOKED_UP:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def in_table(dataset: lance.LanceDataset, table: pa.Table) -> np.ndarray:
    """For each row of `table` whether the dataset holds a row from its place, bool [n]; memory bounded by `table`."""
    slices = table.column("slice").unique()
    mask = np.zeros(table.num_rows, bool)
    with storage_errors("look for slices in", dataset):
        for batch in dataset.scanner(columns=PLACE).to_batches():
            rows = batch.filter(pc.is_in(batch.column("slice"), value_set=slices))
            if rows.num_rows:
                mask |= is_among(table, pa.Table.from_batches([rows]), PLACE)
    return mask


def mark_slices(location: TableLocation, slices: pa.Table, why: Literal["rejected", "deleted"], run: str) -> None:
    """Note that `slices` (slice, source; one row each) are finished. Write this only when it is true for good."""
    count = slices.num_rows
    columns = {"why": pa.array([why] * count, pa.string()), "run": pa.array([run] * count, pa.string())}
    columns |= {name: slices.column(name) for name in ("slice", "source")}
    upsert(location.sibling("slices"), pa.table([columns[name] for name in SLICES.names], schema=SLICES), ["slice"])


def marked_slices(location: TableLocation, unbegun: Iterable[str] = ()) -> np.ndarray:
    """The slices that are marked, int64, ascending; not those of the files `unbegun`, whose version nobody has read."""
    marks = read_marks(location)
    unknown = pa.array(list(unbegun), pa.string())
    known = marks.filter(pc.invert(pc.is_in(marks.column("source"), value_set=unknown)))
    return np.unique(known.column("slice").to_numpy())


def read_marks(location: TableLocation, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
    """All marks (SLICES), or those for which `filter` holds."""
    return read_all(location.sibling("slices"), SLICES, filter)


def forget_marks(location: TableLocation, condition: pc.Expression) -> None:
    """Remove the marks for which `condition`, on slice and source, holds."""
    delete_rows(location.sibling("slices"), condition)


def drop_overtaken_marks(location: TableLocation, stored: np.ndarray) -> None:
    """Remove the marks of slices of which the table has rows; `stored` is int64 and ascends."""
    marks = marked_slices(location)
    overtaken = marks[is_in_sorted(marks, stored)]
    if len(overtaken):
        forget_marks(location, pc.field("slice").isin(pa.array(overtaken)))
