"""Places: the slice and the row that a document comes from, as pairs of int64, compared with each other and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance

__all__ = ["PLACE", "among", "described", "first_alike", "held", "places", "same_place"]

PLACE: Final = ["slice", "row"]

_SCHEMA: Final = pa.schema([(name, pa.int64()) for name in PLACE])


def places(table: pa.Table) -> pa.Table:
    """The columns slice and row of `table`, nothing else about them."""
    return table.select(PLACE).cast(_SCHEMA)


def among(table: pa.Table, others: pa.Table) -> np.ndarray:
    """For each row of `table` whether its place is one of those of `others`, bool [n]."""
    numbered = places(table).append_column("at", pa.array(np.arange(table.num_rows)))
    found = numbered.join(places(others), keys=PLACE, join_type="left semi").column("at")
    mask = np.zeros(table.num_rows, bool)
    mask[found.to_numpy()] = True
    return mask


def held(dataset: lance.LanceDataset, table: pa.Table) -> np.ndarray:
    """For each row of `table` whether the dataset holds a row from its place, bool [n]; memory bounded by `table`."""
    slices = table.column("slice").unique()
    mask = np.zeros(table.num_rows, bool)
    with storage_errors("look for slices in", dataset):
        for batch in dataset.scanner(columns=PLACE).to_batches():
            rows = batch.filter(pc.is_in(batch.column("slice"), value_set=slices))
            if rows.num_rows:
                mask |= among(table, pa.Table.from_batches([rows]))
    return mask


def first_alike(values: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """For each position the first position with the same value."""
    joined = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    codes = joined.dictionary_encode().indices.to_numpy()
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return first[inverse]


def same_place(rows: pa.Table, others: np.ndarray) -> np.ndarray:
    """For each row whether the row at `others` comes from the same place: it is this row, or another chunk of it."""
    pairs = [rows.column(name).to_numpy() for name in PLACE]
    return np.logical_and.reduce([values == values[others] for values in pairs])


def described(rows: pa.Table) -> pa.ChunkedArray:
    """For the reject of whoever wants the id of one of `rows` (source, row): where that one came from, string [n]."""
    source = pc.fill_null(rows.column("source"), "")
    number = rows.column("row").cast(pa.string())
    return pc.binary_join_element_wise("this id is held by ", source, ":", number, "", null_handling="skip")
