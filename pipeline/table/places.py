"""Places: the slice and the row that a document comes from, as pairs of int64, compared with each other and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import lance

__all__ = ["PLACE", "among", "held", "places"]

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
    for batch in dataset.scanner(columns=PLACE).to_batches():
        rows = batch.filter(pc.is_in(batch.column("slice"), value_set=slices))
        if rows.num_rows:
            mask |= among(table, pa.Table.from_batches([rows]))
    return mask
