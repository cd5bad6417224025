"""Search: by vector, by text, or both, with conditions that no value can break out of.

A vector query is written in the form in which vectors are stored; the routing weight asked for turns it into what
ranks by ``cos_h + α'·cos_r`` (`pipeline.embedding.combine`). Lance answers with the cosine distance d, whence
``score = scale · length · (1 - d)``.

LanceDB is imported for conditions and for hybrid searches only: importing it takes 0.8 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.table.schema import VECTOR, document_column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import lance
    from lancedb.expr import Expr

    from pipeline.embedding.combine import Query

__all__ = ["Mode", "Request", "chosen_columns", "condition", "run_search"]

Mode = Literal["vector", "text", "hybrid"]

_REFINE: Final = 10
"""Candidates per hit that are compared again by their full vectors where an index is used: recall .49 → 1.0."""

_PROBES: Final = 32

_DEPTH: Final = 100
"""Hits of either kind that a hybrid search joins: a document may be far down in both lists and win."""

_WIDER: Final = 4
"""So many times as many chunks as documents are looked at, and again so many times as many until they suffice."""

_SCORE: Final = "_score"


@dataclass(frozen=True, slots=True)
class Request:
    """What to search for; `vector` for the modes vector and hybrid, `text` for text and hybrid."""

    mode: Mode
    k: int
    columns: list[str]
    vector: Query | None = None
    text: str | None = None
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
    if request.mode == "vector":
        assert request.vector is not None
        hits = _by_vector(dataset, request, request.k)
        factor = request.vector.scale * request.vector.length
        scores = factor * (1.0 - hits.column("_distance").to_numpy())
    elif request.mode == "text":
        hits = _by_text(dataset, request, request.k)
        scores = hits.column("_score").to_numpy()
    else:
        depth = max(request.k, _DEPTH)
        near, worded = _by_vector(dataset, request, depth), _by_text(dataset, request, depth)
        from lancedb.rerankers import RRFReranker

        hits = RRFReranker().rerank_hybrid(request.text or "", near, worded).slice(0, request.k)
        scores = hits.column("_relevance_score").to_numpy()
    return hits.select(request.columns).append_column(_SCORE, pa.array(scores, pa.float32(), from_pandas=False))


def _by_vector(dataset: lance.LanceDataset, request: Request, k: int) -> pa.Table:
    assert request.vector is not None
    nearest: dict[str, Any] = {"column": VECTOR, "q": request.vector.vector, "k": k, "metric": "cosine"}
    if request.indexed:
        nearest |= {"nprobes": _PROBES, "refine_factor": _REFINE}
    return _fetch(dataset, request, "_distance", nearest=nearest)


def _by_text(dataset: lance.LanceDataset, request: Request, k: int) -> pa.Table:
    return _fetch(dataset, request, _SCORE, full_text_query={"query": request.text, "columns": ["text"]}, limit=k)


def _fetch(dataset: lance.LanceDataset, request: Request, score: str, **query: Any) -> pa.Table:
    columns = [*request.columns, score]
    return dataset.to_table(columns=columns, filter=request.where, prefilter=True, with_row_id=True, **query)


def condition(schema: pa.Schema, where: Mapping[str, Any] | None, *, but: str | None = None) -> str | None:
    """SQL for ``FIELD = VALUE`` in every entry (a list: one of its values), and for not having the id `but`.

    Values take the column's type: ``"3"`` finds 3 in an integer column.

    Raises:
        UsageError: there is no such column, or the value cannot be one of its values.
    """
    if not where and but is None:
        return None
    from lancedb.expr import col, lit

    parts = [_field_is(schema, name, value) for name, value in (where or {}).items()]
    if but is not None:
        parts += [col(name) != lit(but) for name in sorted({"id", document_column(schema)})]
    return reduce(and_, parts).to_sql()


def _field_is(schema: pa.Schema, name: str, value: Any) -> Expr:
    from lancedb.expr import col, lit

    fields = [field.name for field in schema if not pa.types.is_nested(field.type)]
    if name not in fields:
        raise UsageError(f"where {name}={value!r}: there is no such column to compare; there are {', '.join(fields)}")
    kind = schema.field(name).type
    if isinstance(value, list | tuple | set | frozenset):
        if not value:
            raise UsageError(f"where {name}: no values to choose from")
        return reduce(lambda one, other: one | other, (col(name) == lit(_typed(name, kind, one)) for one in value))
    return col(name) == lit(_typed(name, kind, value))


def _typed(name: str, kind: pa.DataType, value: Any) -> Any:
    if value is None:
        raise UsageError(f"where {name}: a missing value equals nothing; write where_sql='{name} IS NULL'")
    plain = value.item() if isinstance(value, np.generic) else value
    try:
        scalar = pa.scalar(plain)
        if pa.types.is_floating(scalar.type) and pa.types.is_integer(kind):
            return scalar.cast(kind, safe=True).as_py()
        return scalar.cast(kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, TypeError) as error:
        raise UsageError(f"where {name}={value!r}: the column holds {kind}") from error


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
