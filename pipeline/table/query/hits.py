"""From chosen rows to hits: the columns that were asked for, and why each row is a hit.

A search by vector tells the cosines of both halves apart, one by words the place that matched, a hybrid one both ranks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import as_matrix
from pipeline.embedding.combine import split
from pipeline.table.query.passages import passage, words_of
from pipeline.table.schema import COSINES, PASSAGE, RANKS, SCORE, VECTOR

if TYPE_CHECKING:
    import lance

    from pipeline.table.query.request import Request

__all__ = ["complete", "vectors_of"]


def complete(dataset: lance.LanceDataset, request: Request, ranked: pa.Table) -> pa.Table:
    """The hits: the columns of the request, then ``_score`` and what explains it."""
    columns = list(request.columns)
    columns += [VECTOR] if request.parts is not None else []
    columns += ["text"] if request.text is not None else []
    rows = _rows(dataset, ranked.column("_rowid"), list(dict.fromkeys(columns)))
    hits = rows.select(request.columns).append_column(SCORE, ranked.column(SCORE))
    if request.parts is not None:
        for name, cosines in zip(COSINES, _cosines(request, as_matrix(rows.column(VECTOR))), strict=True):
            hits = hits.append_column(name, pa.array(cosines, pa.float32()))
    for name in RANKS:
        if name in ranked.column_names:
            hits = hits.append_column(name, ranked.column(name))
    if request.text is not None:
        words = words_of(request.text)
        places = [None if text is None else passage(text, words).text for text in rows.column("text").to_pylist()]
        hits = hits.append_column(PASSAGE, pa.array(places, pa.string()))
    return hits


def vectors_of(dataset: lance.LanceDataset, row_ids: pa.ChunkedArray) -> np.ndarray:
    """The vectors of the rows of these numbers, in their order, float32 [n, D]."""
    return as_matrix(_rows(dataset, row_ids, [VECTOR]).column(VECTOR)).astype(np.float32)


def _rows(dataset: lance.LanceDataset, row_ids: pa.ChunkedArray, columns: list[str]) -> pa.Table:
    """Rows in the order of `row_ids`."""
    wanted = ", ".join(map(str, row_ids.to_numpy())) or "NULL"
    found = dataset.to_table(columns=columns, filter=f"_rowid IN ({wanted})", with_row_id=True)
    return found.take(pc.index_in(row_ids, found.column("_rowid").combine_chunks())).drop_columns("_rowid")


def _cosines(request: Request, vectors: np.ndarray) -> tuple[np.ndarray, ...]:
    assert request.parts is not None
    halves = split(vectors, request.combine, len(request.parts[0]))
    # Not by a matrix product, whose last bits depend on how many rows there are.
    return tuple((half * part).sum(axis=1) for half, part in zip(halves, request.parts, strict=True))
