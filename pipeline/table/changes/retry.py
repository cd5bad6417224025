"""Rejected documents that are tried again, asked or unasked: which ones, and which rows of which slices they are.

A slice is finished as a whole, so a document of a finished slice needs a door of its own: its slice is read again, all
rows but the rejected ones are left out, and a commit judges it by slice *and* row (`pipeline.table.commit.admission`).
Its reject stays until the row is in the table, then goes (`pipeline.table.companions.rejects.drop_stale`): a crash at
any moment leaves the document rejected, or accepted and tidied up by the next run.

What the bytes of the file decide (`FINAL`: empty, malformed, …) is not tried again: it would end the same way. Unasked
only those are whose twin has gone (`pipeline.table.changes.duplicates`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.companions.rejects import FINAL, WIDOWED
from pipeline.table.places import among, places
from pipeline.table.schema import REJECTS
from pipeline.table.store import read_all

if TYPE_CHECKING:
    from pipeline.table.known.ledger import Ledger
    from pipeline.table.location import TableLocation

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """What is tried again.

    rows: single documents, by slice and row · whole: slices, sorted · sources: URIs · sizes: slice, sorted, and
    slice_rows, of the slices that `rows` are of.
    """

    rows: pa.Table
    whole: np.ndarray
    sources: frozenset[str]
    sizes: pa.Table

    @classmethod
    def load(cls, location: TableLocation, ledger: Ledger, *, asked: bool = True) -> Self | None:
        """The rejects whose reason can pass, of finished slices (others are read again in any case) and of whole ones.

        A retry that died may have left some rows of a whole slice among the rejects; the slice is still owed. Not
        `asked`: only those whose twin has gone; None if there are none.
        """
        wanted = ~pc.field("reason").isin(list(FINAL)) if asked else pc.field("reason") == WIDOWED
        rejects = read_all(location.sibling("rejects"), REJECTS, wanted)
        if not asked and not rejects.num_rows:
            return None
        finished = np.isin(rejects.column("slice").to_numpy(), ledger.done)
        whole_slice = rejects.column("row").to_numpy() < 0
        rejects = rejects.filter(pa.array(finished | whole_slice))
        single = rejects.filter(pc.field("row") >= 0)
        whole = rejects.filter(pc.field("row") < 0).column("slice").to_numpy()
        sizes = single.group_by("slice").aggregate([("slice_rows", "max")]).rename_columns(["slice", "slice_rows"])
        sources = frozenset(rejects.column("source").unique().to_pylist())
        return cls(places(single), np.unique(whole), sources, sizes.sort_by("slice"))

    @property
    def slices(self) -> np.ndarray:
        """All slices that are read again, sorted."""
        return np.union1d(self.rows.column("slice").to_numpy(), self.whole)

    def covers(self, keys: pa.Table) -> np.ndarray:
        """For each row of `keys` (slice, row, …) whether it is one that is tried again, bool [n]."""
        return np.isin(keys.column("slice").to_numpy(), self.whole) | among(keys, self.rows)

    def slice_rows(self, slices: np.ndarray) -> np.ndarray:
        """How many rows each of `slices` was known to have, 0 where nothing was, int32 [n]."""
        at = pc.index_in(pa.array(slices), value_set=self.sizes.column("slice").combine_chunks())
        return pc.fill_null(self.sizes.column("slice_rows").take(at), 0).to_numpy()

    def only(self, table: pa.Table) -> pa.Table:
        """`table` (slice, row, …) without the rows of slices that are read again for other rows' sake."""
        foreign = np.isin(table.column("slice").to_numpy(), self.slices) & ~self.covers(table)
        return table.filter(pa.array(~foreign)) if foreign.any() else table
