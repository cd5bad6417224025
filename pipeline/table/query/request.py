"""From what a person asks to what Lance is asked: the version, the query's vector, conditions, columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.columns import as_matrix
from pipeline.embedding.combine import query_vector, split, unit
from pipeline.errors import NotInTableError, UsageError
from pipeline.table.indexes.listing import has_index, text_index
from pipeline.table.query.conditions import condition_sql, conjunction, named, whole_sql
from pipeline.table.query.literals import in_words, is_comparable
from pipeline.table.query.text import text_query
from pipeline.table.schema import VECTOR
from pipeline.table.store import storage_errors
from pipeline.wording import brief

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    import lance
    import pyarrow as pa
    from lance.query import FullTextQuery

    from pipeline.embedding.combine import Query
    from pipeline.spec import Combine, EmbeddingSpec
    from pipeline.table.location import TableLocation
    from pipeline.table.query.question import Mode, Question

__all__ = ["Request", "VectorSpace", "make_request"]


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """The table's vectors, as far as a query must fit them."""

    location: TableLocation
    spec: EmbeddingSpec
    halves: tuple[int, int]
    """(H, R), sizes of hidden state and routing weights."""
    encode: Callable[[Sequence[str]], np.ndarray]
    """Queries in words → their vectors, float32 [n, D]; builds the encoder when it is first called."""

    @property
    def combine(self) -> Combine:
        """How the halves are stored."""
        return self.spec.combine or "sum"


@dataclass(frozen=True, slots=True)
class Request:
    """What to search for; `vector` for the modes vector and hybrid, `words` for text and hybrid."""

    mode: Mode
    k: int
    offset: int
    columns: list[str]
    combine: Combine
    vector: Query | None = None
    parts: tuple[np.ndarray, np.ndarray] | None = None
    """The query's halves, float32 [H] and [R], of length 1; None where the table stores one only."""
    words: FullTextQuery | None = None
    text: str | None = None
    """The query in words, for the modes text and hybrid."""
    where: str | None = None
    """A condition in SQL."""
    excluded: frozenset[str] = frozenset()
    """Ids of rows that are no hits."""
    indexed: bool = False
    """Whether there is a vector index, whose distances are approximate."""
    group: str | None = None
    """The column of whose values each counts once."""
    min_score: float | None = None
    diversity: float = 0.0

    @property
    def depth(self) -> int:
        """Hits down to the last one that is asked for."""
        return self.offset + self.k

    def within(self, condition: str) -> Self:
        """The same under another condition, too."""
        return replace(self, where=conjunction(self.where, condition))


def make_request(
    space: VectorSpace, dataset: lance.LanceDataset, question: Question, *, without: str | None = None
) -> Request:
    """The request behind a question; `without` is what hits must fulfil besides, in SQL.

    Raises:
        UsageError: the question does not fit the table.
        TableError: a document that is named is not there, or a text index.
    """
    if question.mode != "vector":
        _check_text_index(space.location, dataset)
    schema, text = dataset.schema, question.query if question.mode != "vector" else None
    request = Request(
        mode=question.mode,
        k=question.k,
        offset=question.offset,
        columns=_chosen_columns(schema, question.columns),
        combine=space.combine,
        words=_words(dataset, text) if isinstance(text, str) else None,
        text=text if isinstance(text, str) else None,
        where=conjunction(condition_sql(schema, question.where), whole_sql(question.where_sql), without),
        indexed=has_index(dataset, VECTOR),
        group=_group(schema, question.group_by),
        min_score=question.min_score,
        diversity=question.diversity,
    )
    return request if question.mode == "text" else _with_vector(request, space, dataset, question, without)


def _check_text_index(location: TableLocation, dataset: lance.LanceDataset) -> None:
    if "text" not in dataset.schema.names:
        raise UsageError(f"{location} stores no texts: only vector search is possible")
    if not has_index(dataset, "text"):
        raise NotInTableError(f"{location} has no text index yet: build it first (moee index {location})")


def _words(dataset: lance.LanceDataset, text: str) -> FullTextQuery:
    index = text_index(dataset)
    return text_query(text, has_positions=index is not None and bool(index.details.get("with_position")))


def _chosen_columns(schema: pa.Schema, columns: Sequence[str] | None) -> list[str]:
    """The columns to return: those asked for, else all but the vector."""
    if columns is None:
        return [name for name in schema.names if name != VECTOR]
    for name in columns:
        if name not in schema.names:
            raise UsageError(f"there is no column {brief(name)}; there are {', '.join(schema.names)}")
    return list(dict.fromkeys(columns))


def _group(schema: pa.Schema, column: str | None) -> str | None:
    """None, too, where every row is a group of its own."""
    if column is None or column == "id":
        return None
    if column not in schema.names:
        raise UsageError(f"group_by={brief(column)}: there is no such column; there are {', '.join(schema.names)}")
    kind = schema.field(column).type
    if not is_comparable(kind):
        raise UsageError(f"group_by={column!r}: the column holds {in_words(kind)}, which cannot be compared")
    return column


def _with_vector(
    request: Request, space: VectorSpace, dataset: lance.LanceDataset, question: Question, without: str | None
) -> Request:
    liked, unliked = (
        _examples(space.location, dataset, documents, without) for documents in (question.liked, question.unliked)
    )
    vector = _vector(space, question, liked, unliked)
    request = replace(request, excluded=frozenset(liked.ids) | frozenset(unliked.ids))
    hidden = space.halves[0]
    query = query_vector(vector, space.combine, hidden, space.spec.alpha, question.alpha)
    if space.combine not in {"sum", "concat"}:
        return replace(request, vector=query)
    h, r = split(vector[None], space.combine, hidden)
    return replace(request, vector=query, parts=(h[0], r[0]))


def _numbers(query: Any) -> np.ndarray:
    """A vector as float32; its length is nothing to a cosine, and is such that no square is too large or too small."""
    try:
        given = np.asarray(query, np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"a query is words, or a vector of numbers; this is {brief(query)}") from error
    greatest = np.abs(given).max(initial=0.0)
    return np.ldexp(given, -np.frexp(greatest)[1]).astype(np.float32) if np.isfinite(greatest) else given


@dataclass(frozen=True, slots=True)
class _Examples:
    """Documents that a question names."""

    vector: np.ndarray
    """The mean over documents of the means over their chunks, float32 [D]; NaN where none is named."""
    ids: list[str]
    """Of their rows."""


def _vector(space: VectorSpace, question: Question, liked: _Examples, unliked: _Examples) -> np.ndarray:
    """The query's vector in the stored form, float32 [D].

    With examples of both kinds it lies as far beyond the mean p of the wanted ones as that is from the mean n of the
    others, at 2p - n (the average vector of Qdrant's recommendations).
    """
    if liked.ids:
        wanted = liked.vector
    elif isinstance(question.query, str):
        wanted = space.encode([question.query])[0]
    else:
        wanted = _numbers(question.query)
    if wanted.shape != liked.vector.shape or not np.isfinite(wanted).all() or not wanted.any():
        raise UsageError(
            f"a query vector holds {len(liked.vector)} finite numbers, not all 0; this one is {brief(question.query)}"
        )
    if not unliked.ids:
        return wanted
    away = 2 * unit(wanted) - unit(unliked.vector)
    if not away.any():
        raise UsageError("what is wanted and what is not have the same vector: nothing is left to search for")
    return away


def _examples(
    location: TableLocation, dataset: lance.LanceDataset, documents: Sequence[str], without: str | None
) -> _Examples:
    found = [_rows_of(location, dataset, document, without) for document in documents]
    dim = cast("pa.FixedSizeListType", dataset.schema.field(VECTOR).type).list_size
    means = [as_matrix(rows.column(VECTOR)).astype(np.float32).mean(axis=0) for rows in found]
    mean = np.mean(means, axis=0) if means else np.full(dim, np.nan, np.float32)
    return _Examples(mean, [name for rows in found for name in rows.column("id").to_pylist()])


def _rows_of(location: TableLocation, dataset: lance.LanceDataset, document: str, without: str | None) -> pa.Table:
    """The document's row, or its chunks."""
    with storage_errors("search", location):
        found = dataset.to_table(columns=["id", VECTOR], filter=conjunction(named(dataset.schema, document), without))
    if not found.num_rows:
        raise NotInTableError(f"there is no document {brief(document)} in {location}")
    return found
