"""What waits for the next commit: staged rows and rejects, always of whole slices."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.changes.replacement import Exchange
from pipeline.table.companions.rejects import as_rejects, one_per_row
from pipeline.table.fragments.staging import Staged, keep_rows, schema_key
from pipeline.table.schema import REJECTS

if TYPE_CHECKING:
    import lance

    from pipeline.table.changes.retry import Retry
    from pipeline.table.commit.admission import Admission
    from pipeline.table.location import TableLocation

__all__ = ["Pending"]


@dataclass(slots=True)
class Pending:
    """Collected since `since` (monotonic seconds); `contested` once another driver was seen at the same slices."""

    parts: list[Staged] = field(default_factory=list[Staged])
    rejects: list[pa.Table] = field(default_factory=list[pa.Table])
    since: float = field(default_factory=time.monotonic)
    contested: bool = False
    exchange: Exchange = field(default_factory=Exchange)
    """Changed files whose older rows go in the same commit; its parts and rejects are among the others."""

    def add(self, exchange: Exchange) -> None:
        """Add changed files that are all there."""
        self.exchange = exchange
        self.parts += exchange.parts
        self.rejects += exchange.rejects

    def narrow(self, location: TableLocation, dataset: lance.LanceDataset, admission: Admission, run: str) -> None:
        """Keep what was admitted, staged under the present columns of `dataset`; what was refused becomes rejects."""
        layout = schema_key(dataset)
        parts: list[Staged] = []
        for part, keep in zip(self.parts, admission.keep, strict=True):
            if keep.all() and part.schema_key == layout:
                parts.append(part)
            elif keep.any():
                parts.append(keep_rows(location, dataset, part, keep))
        self.parts = parts
        self.contested |= admission.contested
        if admission.rejects.num_rows:
            self.rejects.append(as_rejects(admission.rejects, run))

    @property
    def size(self) -> int:
        """How many rows and rejects wait."""
        return sum(part.n_rows for part in self.parts) + sum(table.num_rows for table in self.rejects)

    def slices(self) -> np.ndarray:
        """The distinct slices of all rows and rejects, sorted."""
        return np.unique(self._slice_of_each())

    def sized_rejects(self, retry: Retry | None = None) -> pa.Table:
        """All rejects, one per slice and row; ``slice_rows`` is at least what was seen of the slice here.

        A slice's rows and rejects are together in one `Pending`, or it is read again for some of them (`retry`), so
        the table never takes a slice for wholly rejected of which rows are still to come.
        """
        if not self.rejects:
            return REJECTS.empty_table()
        rejects = one_per_row(pa.concat_tables(self.rejects))
        rows = [part.keys.column("slice").to_numpy() for part in self.parts]
        slices = rejects.column("slice").to_numpy()
        seen, counts = np.unique(np.concatenate([slices, *rows]), return_counts=True)
        given = pc.fill_null(rejects.column("slice_rows"), 0).to_numpy()
        sizes = np.maximum(given, counts[np.searchsorted(seen, slices)]).astype(np.int32)
        if retry is not None:
            sizes = np.maximum(sizes, retry.slice_rows(slices))
        at = rejects.schema.get_field_index("slice_rows")
        return rejects.set_column(at, REJECTS.field("slice_rows"), pa.array(sizes))

    def _slice_of_each(self) -> np.ndarray:
        keys = [part.keys for part in self.parts] + self.rejects
        return np.concatenate([np.empty(0, np.int64), *(table.column("slice").to_numpy() for table in keys)])
