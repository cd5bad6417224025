"""Where rows come from: their slice and row, as pairs of int64, compared with each other and with a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance

__all__ = ["PLACE", "held_by", "in_table", "is_among", "places", "same_place"]

PLACE: Final = ["slice", "row"]

_SCHEMA: Final = pa.schema([(name, pa.int64()) for name in PLACE])


def places(table: pa.Table) -> pa.Table:
    """The columns slice and row of `table`, nothing else about them."""
    return table.select(PLACE).cast(_SCHEMA)


def is_among(table: pa.Table, others: pa.Table) -> np.ndarray:
    """For each row of `table` whether its place is one of those of `others`, bool [n]."""
    numbered = places(table).append_column("at", pa.array(np.arange(table.num_rows)))
    found = numbered.join(places(others), keys=PLACE, join_type="left semi").column("at")
    mask = np.zeros(table.num_rows, bool)
    mask[found.to_numpy()] = True
    return mask


def in_table(dataset: lance.LanceDataset, table: pa.Table) -> np.ndarray:
    """For each row of `table` whether the dataset holds a row from its place, bool [n]; memory bounded by `table`."""
    slices = table.column("slice").unique()
    mask = np.zeros(table.num_rows, bool)
    with storage_errors("look for slices in", dataset):
        for batch in dataset.scanner(columns=PLACE).to_batches():
            rows = batch.filter(pc.is_in(batch.column("slice"), value_set=slices))
            if rows.num_rows:
                mask |= is_among(table, pa.Table.from_batches([rows]))
    return mask


def same_place(rows: pa.Table, others: np.ndarray) -> np.ndarray:
    """For each row whether the row at `others` comes from the same place: it is this row, or another chunk of it."""
    pairs = [rows.column(name).to_numpy() for name in PLACE]
    return np.logical_and.reduce([values == values[others] for values in pairs])


def held_by(rows: pa.Table) -> pa.ChunkedArray:
    """For the rejects of other documents with the ids of `rows` (source, row): where these came from, string [n]."""
    source = pc.fill_null(rows.column("source"), "")
    number = rows.column("row").cast(pa.string())
    return pc.binary_join_element_wise("this id is held by ", source, ":", number, "", null_handling="skip")
