"""Blocks of a table's vectors, by the numbers of their rows; a deleted row has no number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import lance
import numpy as np

from pipeline.columns import as_matrix
from pipeline.embedding.combine import reweighted
from pipeline.table.fragments.rows import take_rows
from pipeline.table.schema import VECTOR
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.spec import Combine
    from pipeline.table.location import TableLocation

__all__ = ["VectorBlocks", "row_numbers"]


@dataclass(frozen=True, slots=True)
class VectorBlocks:
    """The vectors of one version of a table, and their weights; holds all that a worker needs."""

    location: TableLocation
    version: int
    combine: Combine
    hidden: int
    """H, the size of the hidden state."""
    stored_alpha: float | None
    alpha: float | None
    """The routing weight that scores are made with; None: the stored one."""

    def stored(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """The vectors of `rows`, numbers that ascend, as they are stored: float16 [n, D].

        Raises:
            TableError: the table cannot be read.
        """
        with storage_errors("read", self.location):
            options = dict(self.location.options) or None
            dataset = lance.dataset(self.location.uri, version=self.version, storage_options=options)
            column = take_rows(dataset, rows, [VECTOR]).column(VECTOR)
        return as_matrix(column)

    def unit(self, stored: NDArray[np.float16]) -> NDArray[np.float32]:
        """Vectors float32 [n, D] of length 1 whose dot products are scores."""
        return reweighted(stored.astype(np.float32), self.combine, self.hidden, self.stored_alpha, self.alpha)


def row_numbers(dataset: lance.LanceDataset, where: str | None) -> NDArray[np.int64]:
    """The numbers of the rows that fulfil a condition in SQL, int64 [n], ascending."""
    found = dataset.to_table(columns=["_rowoffset"], filter=where).column("_rowoffset").to_numpy()
    return np.sort(found.astype(np.int64))
