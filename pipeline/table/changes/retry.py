"""Rejected documents that are tried again: which ones, and which rows of which slices they are.

A slice is finished as a whole, so a document of a finished slice needs a special path: its slice is read again, all
rows but the rejected ones are left out, and a commit judges it by slice *and* row (`pipeline.table.commit.admission`).
Its reject stays until the row is in the table. Then it goes (`drop_overtaken`), so a crash at any moment leaves the
document rejected, or accepted and tidied up by the next run.

What the bytes of the file decide (`FINAL`: empty, malformed, …) is not tried again: it would end the same way. Without
being asked, a run tries again only the duplicates whose original has gone (`pipeline.table.changes.duplicates`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import is_among
from pipeline.rejects import FINAL, PLACE
from pipeline.table.companions.rejects import read_rejects

if TYPE_CHECKING:
    from pipeline.table.known.ledger import Ledger
    from pipeline.table.location import TableLocation

__all__ = ["Retry", "rejects_that_can_pass"]


def rejects_that_can_pass(location: TableLocation) -> pa.Table:
    """The rejects (REJECTS) that another attempt can turn into documents."""
    return read_rejects(location, ~pc.field("reason").isin(list(FINAL)))


@dataclass(frozen=True, slots=True)
class Retry:
    """What is tried again."""

    rows: pa.Table
    """Single documents, by slice and row."""
    whole: np.ndarray
    """Slices that are tried again as a whole, int64, sorted."""
    sources: frozenset[str]
    """URIs of the files that they are in."""

    @classmethod
    def of(cls, rejected: pa.Table, ledger: Ledger) -> Self | None:
        """`rejected` (REJECTS), as far as their slices are finished or whole; others are read again anyway.

        A retry that died may have left some rows of a whole slice among the rejects; the slice is still to be read.
        None if nothing is left.
        """
        finished = np.isin(rejected.column("slice").to_numpy(), ledger.done)
        is_whole = rejected.column("row").to_numpy() < 0
        chosen = rejected.filter(pa.array(finished | is_whole))
        if not chosen.num_rows:
            return None
        single = chosen.filter(pc.field("row") >= 0)
        whole = chosen.filter(pc.field("row") < 0).column("slice").to_numpy()
        return cls(single.select(PLACE), np.unique(whole), frozenset(chosen.column("source").unique().to_pylist()))

    @property
    def slices(self) -> np.ndarray:
        """All slices that are read again, int64, sorted."""
        return np.union1d(self.rows.column("slice").to_numpy(), self.whole)

    def covers(self, keys: pa.Table) -> np.ndarray:
        """For each row of `keys` (slice, row, …) whether it is one that is tried again, bool [n]."""
        return np.isin(keys.column("slice").to_numpy(), self.whole) | is_among(keys, self.rows, PLACE)

    def only(self, table: pa.Table) -> pa.Table:
        """`table` (slice, row, …) without the rows of slices that are read again for the sake of other rows."""
        foreign = np.isin(table.column("slice").to_numpy(), self.slices) & ~self.covers(table)
        return table.filter(pa.array(~foreign)) if foreign.any() else table
