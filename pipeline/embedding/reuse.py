"""Equal texts share one computation: within a batch, and with vectors that were made before.

An equal text has the same tokens, so that it would get the same vector; every document keeps its own row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["MADE", "Known", "KnownRows", "Shared", "share"]

MADE: Final = ("vector", "hs_norm", "rw_norm", "n_tokens", "truncated")
"""The columns of a table that are computed from a text."""


class Known(Protocol):
    """Vectors that were made before, by text."""

    def find(self, texts: pa.Array, columns: Sequence[str]) -> pa.Table:
        """Rows with one of `texts`: the columns text and `columns`; a text may have several."""
        ...


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Vectors held in memory: rows of text and `MADE`, and those of `more`, which is asked too."""

    rows: pa.Table
    more: Known | None = None

    def find(self, texts: pa.Array, columns: Sequence[str]) -> pa.Table:
        """See `Known`."""
        names = ["text", *columns]
        held = self.rows.column("text")
        found = self.rows.filter(pc.is_in(held, value_set=texts.cast(held.type))).select(names)
        if self.more is None:
            return found
        return pa.concat_tables([found, self.more.find(texts, columns).select(names).cast(found.schema)])


@dataclass(frozen=True, slots=True)
class Shared:
    """How n texts share.

    first: positions of the m texts to embed, int64 [m] · found: `MADE` of texts that are known · place: for each text
    its row among the m that are embedded, followed by `found`, int64 [n].
    """

    first: np.ndarray
    found: pa.Table
    place: np.ndarray


def share(texts: pa.ChunkedArray, known: Known | None = None) -> Shared:
    """Which of `texts` must be embedded, and whence the others have their vectors."""
    joined = texts.combine_chunks()
    codes = joined.dictionary_encode().indices.to_numpy()
    _, first, of_each = np.unique(codes, return_index=True, return_inverse=True)
    if known is None:
        return Shared(first, pa.table({}), of_each)
    distinct = joined.take(pa.array(first))
    rows = known.find(distinct, MADE)
    stored = rows.column("text").combine_chunks().cast(distinct.type)
    at = pc.fill_null(pc.index_in(distinct, value_set=stored), -1).to_numpy()
    new = at < 0
    place = np.where(new, np.cumsum(new) - 1, int(new.sum()) + at)
    return Shared(first[new], rows.select(MADE), place[of_each])
