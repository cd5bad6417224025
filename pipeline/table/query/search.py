"""Search: which rows are the best hits, in which order.

Three steps. *Lists*: rows near a vector, rows with words, each without the columns that are returned. *Choice*: the two
lists joined, one hit a group, what scores enough, what differs, the page. *Hits*: the rest of the chosen rows
(`pipeline.table.query.hits`).

A vector query is written in the form in which vectors are stored; the routing weight asked for turns it into what
ranks by ``cos_h + α'·cos_r`` (`pipeline.embedding.combine`). Lance answers with the cosine distance d, whence
``score = scale · length · (1 - d)``.

Hits of equal score come in the order of their ids, so that a longer list begins with the shorter one.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import first_alike
from pipeline.embedding.combine import unit
from pipeline.table.query.diversity import diverse_order
from pipeline.table.query.hits import complete, vectors_of
from pipeline.table.query.literals import name_sql, value_sql
from pipeline.table.query.question import DIVERSE_HITS, MAX_HITS
from pipeline.table.schema import RANKS, SCORE, VECTOR

if TYPE_CHECKING:
    from collections.abc import Callable

    import lance

    from pipeline.table.query.request import Request

    Ask = Callable[[Request, int], pa.Table]

__all__ = ["PLAIN_SEARCH", "run_search"]

_REFINE: Final = 10
"""Candidates per hit that are compared again by their full vectors where an index is used: recall .49 → 1.0."""

_LEAST_PROBES: Final = 32
"""Partitions that are looked into at least. Never at most: a condition may leave nothing in these.

Where only some rows pass a condition, so many times as many partitions are looked into as there are rows for each one
that passes: about as many rows are compared as without it. Of 200,000 rows of 1,024 dimensions that kept recall@10 at
1.000 for conditions that 50 %, 10 %, 3 % and 1 % pass, .998 for .1 %, in 10 to 16 ms each (8 ms without one); what
passes is counted in .3 to 6 ms. Comparing with all of 2,000 rows that pass took 31 ms, of 20,000 200 ms.
"""

PLAIN_SEARCH: Final = (
    f'.distance_type("cosine").minimum_nprobes({_LEAST_PROBES}).maximum_nprobes(0).refine_factor({_REFINE})'
)
"""What a search with plain LanceDB sets for the same hits: its default looks into 20 partitions at most."""

_DEPTHS: Final = (100, 1_000, MAX_HITS)
"""Lengths of the lists that a hybrid search joins: a document may be far down in both and win. Pages of one length
agree, for ranks depend on the lists."""

_WIDER: Final = 4
"""So many times as many rows as groups are looked at, and among equals so many times as many again."""

_RANK_OFFSET: Final = 60
"""Of reciprocal ranks: Cormack's, and LanceDB's."""


def run_search(dataset: lance.LanceDataset, request: Request) -> pa.Table:
    """The hits, best first, with ``_score`` float32: as docs/design.md defines it, or BM25, or reciprocal ranks."""
    pool = DIVERSE_HITS if request.diversity else request.depth
    ranked = _ranked(dataset, request, pool)
    if request.min_score is not None:
        ranked = ranked.filter(pc.greater_equal(ranked.column(SCORE), request.min_score))
    if request.diversity:
        ranked = _diverse(dataset, request, ranked)
    return complete(dataset, request, ranked.slice(request.offset, request.k))


def _ranked(dataset: lance.LanceDataset, request: Request, pool: int) -> pa.Table:
    """The `pool` best rows or groups: id, the group, _rowid, _score; of a hybrid search both ranks."""
    near, worded = partial(_by_vector, dataset), partial(_by_text, dataset)
    if request.mode == "vector":
        return _list(near, request, pool)
    if request.mode == "text":
        return _list(worded, request, pool)
    depth = next(depth for depth in _DEPTHS if depth >= pool)
    return _in_order(_fused(request, *(_list(ask, request, depth) for ask in (near, worded)))).slice(0, pool)


def _list(ask: Ask, request: Request, n: int) -> pa.Table:
    """The `n` best rows of one kind, or the best row of each of the `n` best groups."""
    if request.group is None:
        return _best(ask, request, n)
    asked, rest, groups = min(_WIDER * n, MAX_HITS), request, None
    while True:
        found = _best(ask, rest, asked)
        groups = _first_of_each_group(found if groups is None else pa.concat_tables([groups, found]), request.group)
        if groups.num_rows >= n or found.num_rows < asked:
            return groups.slice(0, n)
        rest = request.within(_in_no_group_of(groups, request.group))


def _first_of_each_group(rows: pa.Table, group: str) -> pa.Table:
    return rows.take(pa.array(np.unique(first_alike(_group_keys(rows, group)))))


def _group_keys(rows: pa.Table, group: str) -> pa.Array:
    """What rows of one group have in common, int64 [n]; a row without a value has it with none."""
    codes = rows.column(group).combine_chunks().dictionary_encode().indices
    alone = -1 - rows.column("_rowid").to_numpy().astype(np.int64)
    return pc.coalesce(codes.cast(pa.int64()), pa.array(alone))


def _in_no_group_of(rows: pa.Table, group: str) -> str:
    """SQL for having another value than each of `rows`, or none and not being one of them."""
    column, values = name_sql(group), rows.column(group)
    given = [value_sql(value) for value in pc.unique(values.drop_null())]
    alone = [value_sql(name) for name in rows.column("id").filter(pc.is_null(values))]
    in_no_group = f"{column} NOT IN ({', '.join(given)})" if given else "TRUE"
    is_another = f"id NOT IN ({', '.join(alone)})" if alone else "TRUE"
    return f"({column} IS NULL OR {in_no_group}) AND {is_another}"


def _best(ask: Ask, request: Request, k: int) -> pa.Table:
    """The `k` best of what `ask` finds. Of those whose score is the k-th one's Lance gives any: more are asked for."""
    asked = k + 1 + len(request.excluded)
    while True:
        found = _in_order(ask(request, asked))
        hits = _without(found, request.excluded)
        scores = hits.column(SCORE)
        if found.num_rows < asked or asked >= MAX_HITS or scores[k - 1] != scores[-1]:
            return hits.slice(0, k)
        asked = min(_WIDER * asked, max(MAX_HITS, asked + 1))


def _without(hits: pa.Table, excluded: frozenset[str]) -> pa.Table:
    if not excluded:
        return hits
    return hits.filter(pc.invert(pc.is_in(hits.column("id"), pa.array(sorted(excluded), pa.string()))))


def _in_order(hits: pa.Table) -> pa.Table:
    return hits.take(pc.sort_indices(hits, [(SCORE, "descending"), ("id", "ascending")]))


def _by_vector(dataset: lance.LanceDataset, request: Request, k: int) -> pa.Table:
    assert request.vector is not None
    nearest: dict[str, Any] = {"column": VECTOR, "q": request.vector.vector, "k": k, "metric": "cosine"}
    if request.indexed:
        nearest |= {"minimum_nprobes": _probes(dataset, request.where), "refine_factor": _REFINE}
    hits = _fetch(dataset, request, "_distance", nearest=nearest)
    factor = request.vector.scale * request.vector.length
    return _scored(hits.drop_columns("_distance"), factor * (1.0 - hits.column("_distance").to_numpy()))


def _probes(dataset: lance.LanceDataset, where: str | None) -> int:
    """Partitions to look into at least."""
    if where is None:
        return _LEAST_PROBES
    rows, passing = dataset.count_rows(), dataset.count_rows(where)
    return min(_LEAST_PROBES * rows // max(passing, 1), max(rows, 1))


def _by_text(dataset: lance.LanceDataset, request: Request, k: int) -> pa.Table:
    return _fetch(dataset, request, SCORE, full_text_query=request.words, limit=k)


def _fetch(dataset: lance.LanceDataset, request: Request, score: str, **query: Any) -> pa.Table:
    columns = sorted({"id", request.group or "id"})
    found = dataset.to_table(columns=[*columns, score], filter=request.where, prefilter=True, with_row_id=True, **query)
    if request.group is None or not pa.types.is_floating(found.column(request.group).type):
        return found
    values = found.column(request.group)  # NaN is no value
    return found.set_column(
        found.column_names.index(request.group), request.group, pc.if_else(pc.is_nan(values), None, values)
    )


def _fused(request: Request, near: pa.Table, worded: pa.Table) -> pa.Table:
    """Rows of either list, scored by the sum of their reciprocal ranks; with both ranks, from 1, null where missing."""
    rows = pa.concat_tables([near, worded.select(near.column_names)])
    first = first_alike(rows.column("_rowid") if request.group is None else _group_keys(rows, request.group))
    once, places = np.unique(first, return_inverse=True)
    ranks = np.zeros((2, len(once)), np.int32)
    ranks[0, places[: near.num_rows]] = 1 + np.arange(near.num_rows)
    ranks[1, places[near.num_rows :]] = 1 + np.arange(worded.num_rows)
    scores = np.where(ranks > 0, 1.0 / (_RANK_OFFSET - 1 + np.maximum(ranks, 1)), 0.0).sum(axis=0)
    fused = _scored(rows.drop_columns(SCORE).take(pa.array(once)), scores)
    for name, places in zip(RANKS, ranks, strict=True):
        fused = fused.append_column(name, pa.array(places, mask=places == 0))
    return fused


def _diverse(dataset: lance.LanceDataset, request: Request, ranked: pa.Table) -> pa.Table:
    """Of `ranked` down to the last hit that is asked for, in the order in which they are chosen."""
    if not ranked.num_rows:
        return ranked
    scores = ranked.column(SCORE).to_numpy()
    if request.mode != "vector":  # BM25 and reciprocal ranks have another range than cosines
        scores = scores / scores[0]
    vectors = unit(vectors_of(dataset, ranked.column("_rowid")))
    return ranked.take(pa.array(diverse_order(vectors, scores, request.diversity, request.depth)))


def _scored(hits: pa.Table, scores: np.ndarray) -> pa.Table:
    return hits.append_column(SCORE, pa.array(scores, pa.float32(), from_pandas=False))
