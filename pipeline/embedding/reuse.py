"""Equal texts share one computation: within a batch, and with vectors that were made before.

Equal texts have equal tokens and would get equal vectors. Every document keeps its own row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMPUTED_COLUMNS", "Known", "KnownRows", "Shared", "share"]

COMPUTED_COLUMNS: Final = ("vector", "hs_norm", "rw_norm", "n_tokens", "truncated")
"""The columns of a table that are computed from a text."""


class Known(Protocol):
    """Vectors that were made before, by text."""

    def find(self, texts: pa.Array, columns: Sequence[str]) -> pa.Table:
        """The columns text and `columns` of rows that hold one of `texts`; a text may have several rows."""
        ...


@dataclass(frozen=True, slots=True)
class KnownRows:
    """Vectors held in memory."""

    rows: pa.Table
    """The columns text and `COMPUTED_COLUMNS`."""
    more: Known | None = None
    """Asked for every text as well."""

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
    """How n texts share vectors: m of them are embedded, the others take theirs from these or from known rows."""

    first: np.ndarray
    """int64 [m], positions of the texts to embed."""
    found: pa.Table
    """`COMPUTED_COLUMNS` of texts that are known."""
    place: np.ndarray
    """int64 [n], the row of each text in the m embedded ones followed by `found`."""


def share(texts: pa.ChunkedArray, known: Known | None = None) -> Shared:
    """Which of `texts` must be embedded, and where the others get their vectors."""
    joined = texts.combine_chunks()
    codes = joined.dictionary_encode().indices.to_numpy()
    _, first, of_each = np.unique(codes, return_index=True, return_inverse=True)
    if known is None:
        return Shared(first, pa.table({}), of_each)
    distinct = joined.take(pa.array(first))
    rows = known.find(distinct, COMPUTED_COLUMNS)
    stored = rows.column("text").combine_chunks().cast(distinct.type)
    at = pc.fill_null(pc.index_in(distinct, value_set=stored), -1).to_numpy()
    new = at < 0
    place = np.where(new, np.cumsum(new) - 1, int(new.sum()) + at)
    return Shared(first[new], rows.select(COMPUTED_COLUMNS), place[of_each])
