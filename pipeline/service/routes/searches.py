"""Hits: of queries in words and of vectors, one or many at once, and of documents like another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse  # noqa: TC002 — FastAPI reads the annotations

from pipeline.errors import UsageError
from pipeline.service.models import MAX_BATCH_HITS, BatchRequest, SearchRequest
from pipeline.service.routes.answering import (
    At,
    Table,
    Where,
    answered,
    conditions_of,
    refuse_withheld,
    served_table,
    without_text,
)
from pipeline.service.topics import members
from pipeline.table.query.grammar import parse_version
from pipeline.table.query.passages import passage, words_of
from pipeline.table.query.question import Mode, Question
from pipeline.table.schema import PASSAGE
from pipeline.topics.versions.load import load_topics

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from pipeline.service.state import State
    from pipeline.service.tables import ServedTable
    from pipeline.topics.versions.load import Topics

__all__ = ["router"]

router = APIRouter()

Hits = Annotated[int, Query(ge=1, description="how many hits")]
Offset = Annotated[int, Query(ge=0, description="how many better hits to leave out")]
Alpha = Annotated[float | None, Query(ge=0, description="weight of the routing half; the table's own otherwise")]
Topic = Annotated[int | None, Query(ge=0, description="hits of this topic only, one of the newest model")]


@router.post("/search", summary="The documents nearest to a query, or with its words, or like others")
async def search(request: Request, asked: SearchRequest) -> JSONResponse:
    """Hits, best first, each with ``_score`` and what explains it; ``marks``: the query's words in each passage."""
    return await answered(request, _values(asked), lambda state: _search(state, request, asked))


@router.get("/search", summary="The same with a query in words, as an address")
async def search_by_address(
    request: Request,
    query: Annotated[str, Query(description="words", examples=["how are keys exchanged"])],
    k: Hits = 10,
    offset: Offset = 0,
    alpha: Alpha = None,
    mode: Annotated[Mode, Query(description="by meaning, by words, or by both")] = "vector",
    where: Where = None,
    topic: Topic = None,
    table: Table = None,
    at: At = None,
) -> JSONResponse:
    """Hits, best first."""

    async def answer(state: State) -> Any:
        conditions = conditions_of(request, where)
        asked = SearchRequest.model_construct(
            query=query,
            k=k,
            offset=offset,
            alpha=alpha,
            mode=mode,
            where=conditions,
            topic=topic,
            table=table,
            at=parse_version(at),
        )
        return await _search(state, request, asked)

    return await answered(request, [query, where, table, at], answer)


@router.post("/search/batch", summary="Many queries in words at once")
async def search_batch(request: Request, asked: BatchRequest) -> JSONResponse:
    """The hits of each query, in their order, all of one version of the table; or one problem and no hits."""

    async def answer(state: State) -> Any:
        most = state.settings.limits.queries
        if len(asked.queries) > most:
            raise UsageError(f"queries: at most {most:,} at once")
        if len(asked.queries) * (asked.k + asked.offset) > MAX_BATCH_HITS:
            raise UsageError(f"queries times k and offset: at most {MAX_BATCH_HITS:,} in one batch")
        name, found = await _found(state, request, asked.single())
        return {"table": name, "answers": [without_text(state, hits) for hits in found]}

    return await answered(request, _values(asked), answer)


@router.get("/similar/{id:path}", summary="The documents nearest to one")
async def similar(
    request: Request,
    id: str,  # noqa: A002
    k: Hits = 10,
    offset: Offset = 0,
    alpha: Alpha = None,
    where: Where = None,
    topic: Topic = None,
    table: Table = None,
    at: At = None,
) -> JSONResponse:
    """Hits, best first, without the document itself."""

    async def answer(state: State) -> Any:
        conditions = conditions_of(request, where)
        asked = SearchRequest.model_construct(
            like=id,
            k=k,
            offset=offset,
            alpha=alpha,
            where=conditions,
            topic=topic,
            table=table,
            at=parse_version(at),
        )
        return await _search(state, request, asked)

    return await answered(request, [id, where, table, at], answer)


def _values(asked: SearchRequest | BatchRequest) -> list[Any]:
    """What was sent, without the names of the fields, and without the mode, which is one of three words."""
    return list(asked.model_dump(exclude={"mode"}).values())


async def _search(state: State, request: Request, asked: SearchRequest) -> dict[str, Any]:
    name, (hits,) = await _found(state, request, [asked])
    shown = without_text(state, hits)
    return {"table": name, "hits": shown, **_marks(asked.query, shown)}


async def _found(state: State, request: Request, asked: Sequence[SearchRequest]) -> tuple[str, list[pa.Table]]:
    """The table's name, and the hits of searches that differ in query and alpha only."""
    for each in asked:
        _check(state, each)
    served = await served_table(state, request, asked[0].table)
    where = await _where(state, served, asked[0])
    hits, together = await served.search([_question(each, where) for each in asked], state.run)
    counted = {"queries": len(asked), "batch": together, "hits": sum(each.num_rows for each in hits)}
    request.state.told.update(counted)
    return served.name, hits


def _check(state: State, asked: SearchRequest) -> None:
    limits = state.settings.limits
    if asked.k + asked.offset > limits.k:
        raise UsageError(f"k and offset: at most {limits.k:,} together")
    if isinstance(asked.query, str) and len(asked.query) > limits.query_letters:
        raise UsageError(f"the query: at most {limits.query_letters:,} characters")
    refuse_withheld(state, [asked.group_by], asked.where)


async def _where(state: State, served: ServedTable, asked: SearchRequest) -> Any:
    """The conditions, and that a hit is of the topic, if one was named."""
    topic = asked.topic
    if topic is None:
        return asked.where
    found: Topics = await state.run(load_topics, served.table)
    key = (served.name, found.model.model, "members", topic)
    ids = await state.answers.get(key, lambda: members(found, topic))
    others = asked.where if isinstance(asked.where, list) else [asked.where] if asked.where else []
    return [*others, {"id": ids}]


def _question(asked: SearchRequest, where: Any) -> Question:
    fields = {name: getattr(asked, name) for name in Question.__dataclass_fields__ if hasattr(asked, name)}
    fields["where"] = where
    if isinstance(asked.query, list):
        fields["query"] = np.asarray(asked.query, np.float32)
    return Question.of(**fields)


def _marks(query: str | list[float] | None, hits: pa.Table) -> dict[str, Any]:
    """Where the words of a query are in each passage, as beginnings and ends in characters."""
    if not isinstance(query, str) or PASSAGE not in hits.column_names:
        return {}
    words = words_of(query)
    texts = hits.column(PASSAGE).to_pylist()
    return {"marks": [[] if text is None else passage(text, words, len(text)).marks for text in texts]}
