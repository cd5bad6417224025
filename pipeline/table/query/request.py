"""From what a person asks to what Lance is asked: checks, the query's vector, conditions, columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow.compute as pc

from pipeline.errors import TableError, UsageError
from pipeline.table.query.conditions import conjunction, other_than, where_equal
from pipeline.table.query.indexes import has_index
from pipeline.table.query.search import MAX_K, Mode, Request, chosen_columns
from pipeline.table.query.text import text_query
from pipeline.table.schema import VECTOR, document_column
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import lance
    import pyarrow as pa

    from pipeline.embedding.combine import Query
    from pipeline.spec import EmbeddingSpec
    from pipeline.table.location import TableLocation

__all__ = ["VectorSpace", "make_request"]


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The table's vectors, as far as a query must fit them."""

    location: TableLocation
    spec: EmbeddingSpec
    halves: tuple[int, int]
    """(H, R), sizes of hidden state and routing weights."""
    encode: Callable[[str], np.ndarray]
    """A query in words → its vector, float32 [D]; builds the encoder when it is first called."""


def make_request(
    space: VectorSpace,
    dataset: lance.LanceDataset,
    query: str | np.ndarray | None,
    *,
    k: int,
    alpha: float | None,
    where: Mapping[str, Any] | None,
    mode: Mode,
    where_sql: str | None,
    like: str | None,
    columns: Sequence[str] | None,
    by_document: bool = False,
) -> Request:
    """The request behind the arguments of `VectorTable.search`, which says what they mean and what is refused."""
    _check(k, mode, query, like)
    if mode != "vector":
        _check_text_index(space.location, dataset)
    return Request(
        mode=mode,
        k=k,
        columns=chosen_columns(dataset.schema, columns),
        vector=None if mode == "text" else _query(space, dataset, query, like, alpha),
        words=text_query(query) if mode != "vector" and isinstance(query, str) else None,
        where=conjunction(
            where_equal(dataset.schema, where), other_than(dataset.schema, like) if like else None, where_sql
        ),
        indexed=has_index(dataset, VECTOR),
        by_document=by_document and document_column(dataset.schema) != "id",
    )


def _check(k: int, mode: Mode, query: str | np.ndarray | None, like: str | None) -> None:
    if k < 1:
        raise UsageError(f"k={k}: ask for at least one hit")
    if k > MAX_K:
        raise UsageError(f"k={k}: one search gives at most {MAX_K:,} hits")
    if mode not in {"vector", "text", "hybrid"}:
        raise UsageError(f"mode={mode!r}: choose vector, text or hybrid")
    if isinstance(query, str) and not query.strip():
        raise UsageError("the query is empty")
    if isinstance(query, str) and re.search("[\ud800-\udfff]", query):
        raise UsageError("the query is not valid text: it holds half of a surrogate pair")
    if mode != "vector" and not isinstance(query, str):
        raise UsageError(f"mode={mode!r} needs a query in words")
    if mode == "text" and like is not None:
        raise UsageError("like is a search by vector: choose mode vector or hybrid")
    if mode == "vector" and (query is None) == (like is None):
        raise UsageError("give either a query or the id of a document to be like")


def _check_text_index(location: TableLocation, dataset: lance.LanceDataset) -> None:
    if "text" not in dataset.schema.names:
        raise UsageError(f"{location} stores no texts: only vector search is possible")
    if not has_index(dataset, "text"):
        raise TableError(f"{location} has no text index yet: build it first (moee index {location})")


def _query(
    space: VectorSpace,
    dataset: lance.LanceDataset,
    query: str | np.ndarray | None,
    like: str | None,
    alpha: float | None,
) -> Query:
    from pipeline.embedding.combine import query_vector

    if like is not None:
        vector = _vector_of(space.location, dataset, like)
    elif isinstance(query, str):
        vector = space.encode(query)
    else:
        vector = np.asarray(query, np.float32)
    dim = cast("pa.FixedSizeListType", dataset.schema.field(VECTOR).type).list_size
    if vector.shape != (dim,) or not np.isfinite(vector).all() or not vector.any():
        raise UsageError(f"a query vector holds {dim} finite numbers, not all 0; this one is {vector.shape}")
    return query_vector(vector, space.spec.combine or "sum", space.halves[0], space.spec.alpha, alpha)


def _vector_of(location: TableLocation, dataset: lance.LanceDataset, document: str) -> np.ndarray:
    """Its vector, or the mean over its chunks."""
    named = (pc.field("id") == document) | (pc.field(document_column(dataset.schema)) == document)
    with storage_errors("search", location):
        found = dataset.to_table(columns=[VECTOR], filter=named).column(VECTOR).combine_chunks()
    if not len(found):
        raise TableError(f"there is no document {document!r} in {location}")
    return found.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(found), -1).mean(axis=0)
