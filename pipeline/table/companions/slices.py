"""Slices that are finished without a row in the table: all their documents were rejected, or deleted for good.

The table's own ``slice`` column tells of all others. A mark is true only as long as the rejects that it stands for are
there, so it carries its file and goes before them. Where the table does have rows of a marked slice, the rows count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import is_in_sorted
from pipeline.table.companions.upsert import delete_rows, upsert
from pipeline.table.schema import SLICES
from pipeline.table.store import read_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.table.location import TableLocation

__all__ = ["drop_overtaken_marks", "forget_marks", "mark_slices", "marked_slices", "read_marks"]


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
