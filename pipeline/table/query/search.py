"""Search: by vector, by text, or both, within a condition.

A vector query is written in the form in which vectors are stored; the routing weight asked for turns it into what
ranks by ``cos_h + α'·cos_r`` (`pipeline.embedding.combine`). Lance answers with the cosine distance d, whence
``score = scale · length · (1 - d)``.

Hits of equal score come in the order of their ids, so that a longer list begins with the shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import first_alike
from pipeline.errors import UsageError
from pipeline.table.schema import VECTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import lance
    from lance.query import FullTextQuery

    from pipeline.embedding.combine import Query

__all__ = ["MAX_K", "PLAIN_SEARCH", "Mode", "Request", "chosen_columns", "run_search"]

Mode = Literal["vector", "text", "hybrid"]

_REFINE: Final = 10
"""Candidates per hit that are compared again by their full vectors where an index is used: recall .49 → 1.0."""

_LEAST_PROBES: Final = 32
"""Partitions that are looked into at least. Never at most: a filter may leave nothing in these."""

PLAIN_SEARCH: Final = (
    f'.distance_type("cosine").minimum_nprobes({_LEAST_PROBES}).maximum_nprobes(0).refine_factor({_REFINE})'
)
"""What a search with plain LanceDB sets for the same hits: its default looks into 20 partitions at most."""

MAX_K: Final = 10_000
"""Hits of one search; what is more is an export of the table, for which Lance has a scan."""

_DEPTH: Final = 100
"""Hits of either kind that a hybrid search joins: a document may be far down in both lists and win."""

_WIDER: Final = 4
"""So many times as many chunks as documents are looked at, and again so many times as many until they suffice."""

_RANK_OFFSET: Final = 60
"""Of reciprocal ranks: Cormack's, and LanceDB's."""

_SCORE: Final = "_score"


@dataclass(frozen=True, slots=True)
class Request:
    """What to search for; `vector` for the modes vector and hybrid, `words` for text and hybrid."""

    mode: Mode
    k: int
    columns: list[str]
    vector: Query | None = None
    words: FullTextQuery | None = None
    where: str | None = None
    """A condition in SQL."""
    indexed: bool = False
    """Whether there is a vector index, whose distances are approximate."""
    by_document: bool = False
    """Whether a document counts once, by its best chunk."""


def run_search(dataset: lance.LanceDataset, request: Request) -> pa.Table:
    """The hits, best first, with ``_score`` float32: as docs/design.md defines it, or BM25, or reciprocal ranks."""
    if not request.by_document:
        return _hits(dataset, request)
    wide = replace(request, k=_WIDER * request.k, columns=list(dict.fromkeys([*request.columns, "doc_id"])))
    while True:
        hits = _hits(dataset, wide)
        best = hits.take(_first_of_each(hits.column("doc_id"))[: request.k])
        if best.num_rows == request.k or hits.num_rows < wide.k:
            return best.select([*request.columns, _SCORE])
        wide = replace(wide, k=_WIDER * wide.k)


def _first_of_each(documents: pa.ChunkedArray) -> pa.Array:
    """Ascending positions of each document's first row."""
    rows = pa.table({"document": documents, "at": pa.array(np.arange(len(documents)))})
    return pa.array(np.sort(rows.group_by("document").aggregate([("at", "min")]).column("at_min").to_numpy()))


def _hits(dataset: lance.LanceDataset, request: Request) -> pa.Table:
    """The `k` best rows."""
    if request.mode == "vector":
        hits = _best(partial(_by_vector, dataset, request), request.k)
    elif request.mode == "text":
        hits = _best(partial(_by_text, dataset, request), request.k)
    else:
        depth = max(request.k, _DEPTH)
        near, worded = (_best(partial(ask, dataset, request), depth) for ask in (_by_vector, _by_text))
        hits = _in_order(_fused(near, worded)).slice(0, request.k)
    return hits.select([*request.columns, _SCORE])


def _best(ask: Callable[[int], pa.Table], k: int) -> pa.Table:
    """The `k` best of what `ask` finds. Of those whose score is the k-th one's Lance gives any: more are asked for."""
    asked = k + 1
    while True:
        hits = _in_order(ask(asked))
        scores = hits.column(_SCORE)
        if hits.num_rows < asked or asked >= MAX_K or scores[k - 1] != scores[-1]:
            return hits.slice(0, k)
        asked = min(_WIDER * asked, max(MAX_K, k + 1))


def _in_order(hits: pa.Table) -> pa.Table:
    return hits.take(pc.sort_indices(hits, [(_SCORE, "descending"), ("id", "ascending")]))


def _by_vector(dataset: lance.LanceDataset, request: Request, k: int) -> pa.Table:
    assert request.vector is not None
    nearest: dict[str, Any] = {"column": VECTOR, "q": request.vector.vector, "k": k, "metric": "cosine"}
    if request.indexed:
        nearest |= {"minimum_nprobes": _LEAST_PROBES, "refine_factor": _REFINE}
    hits = _fetch(dataset, request, "_distance", nearest=nearest)
    factor = request.vector.scale * request.vector.length
    return _scored(hits.drop_columns("_distance"), factor * (1.0 - hits.column("_distance").to_numpy()))


def _by_text(dataset: lance.LanceDataset, request: Request, k: int) -> pa.Table:
    return _fetch(dataset, request, _SCORE, full_text_query=request.words, limit=k)


def _fused(near: pa.Table, worded: pa.Table) -> pa.Table:
    """Rows of either list, scored by the sum of their reciprocal ranks."""
    rows = pa.concat_tables([near, worded.select(near.column_names)])
    ranks = np.concatenate([np.arange(near.num_rows), np.arange(worded.num_rows)])
    first = first_alike(rows.column("_rowid"))
    scores = np.bincount(first, 1.0 / (_RANK_OFFSET + ranks), minlength=rows.num_rows)
    once = np.unique(first)
    return _scored(rows.drop_columns(_SCORE).take(pa.array(once)), scores[once])


def _scored(hits: pa.Table, scores: np.ndarray) -> pa.Table:
    return hits.append_column(_SCORE, pa.array(scores, pa.float32(), from_pandas=False))


def _fetch(dataset: lance.LanceDataset, request: Request, score: str, **query: Any) -> pa.Table:
    columns = list(dict.fromkeys([*request.columns, "id"]))
    return dataset.to_table(columns=[*columns, score], filter=request.where, prefilter=True, with_row_id=True, **query)


def chosen_columns(schema: pa.Schema, columns: Sequence[str] | None) -> list[str]:
    """The columns to return: those asked for, else all but the vector.

    Raises:
        UsageError: one of them does not exist.
    """
    if columns is None:
        return [name for name in schema.names if name != VECTOR]
    for name in columns:
        if name not in schema.names:
            raise UsageError(f"there is no column {name!r}; there are {', '.join(schema.names)}")
    return list(dict.fromkeys(columns))
