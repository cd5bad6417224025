"""What waits for the next commit: staged rows and rejects, always of whole slices."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.rejects import one_per_row
from pipeline.table.schema import REJECTS
from pipeline.table.staging import Staged

__all__ = ["Pending"]


@dataclass(slots=True)
class Pending:
    """Collected since `since` (monotonic seconds); `contested` once another driver was seen at the same slices."""

    parts: list[Staged] = field(default_factory=list[Staged])
    rejects: list[pa.Table] = field(default_factory=list[pa.Table])
    since: float = field(default_factory=time.monotonic)
    contested: bool = False

    @property
    def size(self) -> int:
        """How many rows and rejects wait."""
        return sum(part.n_rows for part in self.parts) + sum(table.num_rows for table in self.rejects)

    def slices(self) -> np.ndarray:
        """The distinct slices of all rows and rejects, sorted."""
        return np.unique(self._slice_of_each())

    def sized_rejects(self) -> pa.Table:
        """All rejects, one per slice and row; ``slice_rows`` is at least what was seen of the slice here.

        A slice's rows and rejects are together in one `Pending`, so the table never takes a slice for wholly
        rejected of which rows are still to come.
        """
        if not self.rejects:
            return REJECTS.empty_table()
        rejects = one_per_row(pa.concat_tables(self.rejects))
        rows = [part.keys.column("slice").to_numpy() for part in self.parts]
        slices = rejects.column("slice").to_numpy()
        seen, counts = np.unique(np.concatenate([slices, *rows]), return_counts=True)
        given = pc.fill_null(rejects.column("slice_rows"), 0).to_numpy()
        sizes = np.maximum(given, counts[np.searchsorted(seen, slices)]).astype(np.int32)
        at = rejects.schema.get_field_index("slice_rows")
        return rejects.set_column(at, REJECTS.field("slice_rows"), pa.array(sizes))

    def _slice_of_each(self) -> np.ndarray:
        keys = [part.keys for part in self.parts] + self.rejects
        return np.concatenate([np.empty(0, np.int64), *(table.column("slice").to_numpy() for table in keys)])
