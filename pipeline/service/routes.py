"""What a service answers. Every answer but the map is JSON; an error is a problem (`pipeline.service.problems`)."""

from __future__ import annotations

import gzip
from dataclasses import asdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from pipeline.errors import MoeeError, NotInTableError, UsageError
from pipeline.service.batcher import TooManyWaitingError
from pipeline.service.maps import MAX_POINTS, StillDrawingError
from pipeline.service.metrics import CONTENT_TYPE
from pipeline.service.models import MAX_BATCH_HITS, BatchRequest, SearchRequest
from pipeline.service.problems import Problem, status_of, without_input
from pipeline.service.topics import by_column, current_model, members, over_column, overview, topic_detail
from pipeline.table.kept import kept_columns
from pipeline.table.query.grammar import parse_conditions, parse_version
from pipeline.table.query.passages import passage, words_of
from pipeline.table.query.question import Mode, Question
from pipeline.table.schema import PASSAGE
from pipeline.topics.versions.load import load_topics
from pipeline.topics.views.axes import axes
from pipeline.topics.views.over import DEFAULT_BINS
from pipeline.values import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa
    from lance import LanceDataset

    from pipeline.service.maps import ServedMap
    from pipeline.service.state import State
    from pipeline.service.tables import ServedTable
    from pipeline.topics.versions.load import Topics

__all__ = ["router"]


def _refuse_unknown(request: Request) -> None:
    """A field of an address that is misspelt would be a filter that does not hold; probes may add what they like."""
    route: Any = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params}
    if route.include_in_schema and not known.issuperset(request.query_params):
        there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the address has a field that is not known; {there}")


router = APIRouter(dependencies=[Depends(_refuse_unknown)])

Hits = Annotated[int, Query(ge=1, description="how many hits")]
Offset = Annotated[int, Query(ge=0, description="how many better hits to leave out")]
Alpha = Annotated[float | None, Query(ge=0, description="weight of the routing half; the table's own otherwise")]
Where = Annotated[list[str] | None, Query(description="year>=1990, lang=de, 'editor is null'; all hold")]
Table = Annotated[str | None, Query(description="which table; the only one where there is one")]
Topic = Annotated[int | None, Query(ge=0, description="hits of this topic only, one of the newest model")]
At = Annotated[str | None, Query(description="a version of the table, or a tag")]


@router.post("/search", summary="The documents nearest to a query, or with its words, or like others")
async def search(request: Request, asked: SearchRequest) -> JSONResponse:
    """Hits, best first, each with ``_score`` and what explains it; ``marks``: the query's words in each passage."""
    return await _answered(request, _values(asked), lambda state: _search(state, request, asked))


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
        conditions = _conditions(request, where)
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

    return await _answered(request, [query, where, table, at], answer)


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
        return {"table": name, "answers": [_without_text(state, hits) for hits in found]}

    return await _answered(request, _values(asked), answer)


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
        conditions = _conditions(request, where)
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

    return await _answered(request, [id, where, table, at], answer)


@router.get("/documents/{id:path}", summary="A document")
async def document(request: Request, id: str, table: Table = None, at: At = None) -> JSONResponse:  # noqa: A002
    """Its row, or its chunks in their order."""

    async def answer(state: State) -> Any:
        served = await _served(state, request, table)
        rows = await state.run(served.table.document, id, parse_version(at))
        if not rows.num_rows:
            raise NotInTableError("there is no document of this id")
        return {"table": served.name, "rows": as_json(_without_text(state, rows))}

    return await _answered(request, [id, table, at], answer)


@router.get("/facets", summary="How often each value of columns occurs")
async def facets(
    request: Request,
    column: Annotated[list[str], Query(description="which columns", examples=[["author"]])],
    where: Where = None,
    most: Annotated[int, Query(ge=1, le=1000, description="at most so many values of each")] = 20,
    table: Table = None,
    at: At = None,
) -> JSONResponse:
    """For each column its most frequent values with their counts, under a condition."""

    async def answer(state: State) -> Any:
        served = await _served(state, request, table)
        conditions = _conditions(request, where)
        _refuse_withheld(state, column, conditions)
        counts = await state.run(
            lambda: served.table.facets(column, conditions, at=parse_version(at), most=most),
        )
        return {"table": served.name, "facets": as_json(counts)}

    return await _answered(request, [column, where, table, at], answer)


@router.get("/tables", summary="The tables that are served")
async def tables(request: Request) -> JSONResponse:
    """Name, rows, version, columns, how it is searched in words, kept columns, newest topic model, and the spec."""

    async def answer(state: State) -> Any:
        return {"tables": [await _described(state, name) for name in state.tables.names]}

    return await _answered(request, None, answer)


@router.get("/topics", summary="The topics of a table")
async def topics(
    request: Request,
    words: Annotated[int | None, Query(ge=0, description="at most so many of each topic; all otherwise")] = None,
    table: Table = None,
) -> JSONResponse:
    """The newest topic model: its topics, largest first, and what changed against the model before."""
    return await _answered(request, [table], lambda state: _of_topics(state, request, table, overview, words))


@router.get("/topics/over", summary="Topics over time")
async def topics_over(
    request: Request,
    column: Annotated[str, Query(description="of times, dates or whole numbers", examples=["year"])],
    bins: Annotated[int, Query(ge=2, le=200, description="at most so many intervals")] = DEFAULT_BINS,
    table: Table = None,
) -> JSONResponse:
    """For each topic how many of its documents fall into each interval; topic -1: documents in none."""

    async def answer(state: State) -> Any:
        _refuse_withheld(state, [column], None)
        return await _of_topics(state, request, table, over_column, column, bins)

    return await _answered(request, [column, table], answer)


@router.get("/topics/by", summary="Topics by the values of a column")
async def topics_by(
    request: Request,
    column: Annotated[str, Query(description="of texts, whole numbers, dates or truth values", examples=["author"])],
    most: Annotated[int, Query(ge=1, le=1000, description="at most so many values")] = 20,
    table: Table = None,
) -> JSONResponse:
    """For each of the most frequent values its topics: documents, share, and lift, which is share / usual share."""

    async def answer(state: State) -> Any:
        _refuse_withheld(state, [column], None)
        return await _of_topics(state, request, table, by_column, column, most)

    return await _answered(request, [column, table], answer)


@router.get("/topics/{topic}", summary="A topic with its words, typical documents and history")
async def topic(
    request: Request,
    topic: Annotated[int, Path(ge=-1, lt=1 << 31, examples=[0])],
    examples: Annotated[int, Query(ge=0, le=100, description="at most so many documents")] = 5,
    table: Table = None,
) -> JSONResponse:
    """Words by c-TF-IDF and by the embedding model, the most typical documents, and its size in each version."""

    async def answer(state: State) -> Any:
        found = await _of_topics(state, request, table, topic_detail, topic, examples)
        if state.settings.with_texts:
            return found
        return {**found, "examples": [{"id": example["id"]} for example in found["examples"]]}

    return await _answered(request, [table], answer)


@router.get(
    "/map",
    summary="The topics of a table as a map: a point for each document",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        202: {"description": "it is being drawn: ask again after Retry-After seconds"},
        304: {"description": "not changed"},
    },
)
async def topic_map(
    request: Request,
    table: Table = None,
    points: Annotated[int, Query(ge=1, le=MAX_POINTS, description="at most so many")] = MAX_POINTS,
) -> Response:
    """Bytes: the length of the head (uint32), the head as JSON, x and y as uint16, topics as int16; little-endian.

    The head has the table's counts, its topics with their labels and colours, regions, and the ids of the points.
    """

    async def answer(state: State) -> Any:
        return await state.maps.get(await state.run(state.tables.get, table), points, state.run)

    found: ServedMap = await _told(request, [table], answer)
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=found.headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed, headers = found.compressed, {**found.headers, "content-encoding": "gzip"}
    else:
        packed, headers = gzip.decompress(found.compressed), found.headers
    return Response(packed, headers=headers, media_type="application/octet-stream")


@router.get("/healthz", summary="Whether the service lives", include_in_schema=False)
async def healthz() -> JSONResponse:
    """Always yes, where an answer comes at all."""
    return JSONResponse({"status": "alive"})


@router.get("/readyz", summary="Whether it can answer", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """Yes once all replicas are loaded and every table can be opened."""
    state: State = request.app.state.service
    if not state.ready.is_set():
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the replicas are being loaded", {"retry-after": "2"})
    try:
        for name in state.tables.names:
            await state.run(state.tables.get, name)
    except MoeeError as error:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "a table cannot be opened") from error
    return JSONResponse({"status": "ready"})


@router.get("/metrics", summary="What is counted, as Prometheus reads it")
async def metrics(request: Request) -> Response:
    """Requests, times, batches, and the version, rows and topics of each table."""
    state: State = request.app.state.service
    for name in state.tables.names:
        try:
            await state.run(state.metrics.observe, (await state.run(state.tables.get, name)).table)
        except MoeeError:
            continue  # /readyz tells of it
    return Response(state.metrics.text(), media_type=CONTENT_TYPE)


async def _answered(request: Request, sent: Any, answer: Callable[[State], Any]) -> JSONResponse:
    """The answer as JSON, or a problem."""
    told = await _told(request, sent, answer)
    state: State = request.app.state.service
    return await state.run(lambda: JSONResponse(as_json(told)))  # ten thousand hits take half a second


async def _told(request: Request, sent: Any, answer: Callable[[State], Any]) -> Any:
    """What `answer` gives, or a problem that repeats nothing of what was `sent`."""
    state: State = request.app.state.service
    try:
        return await answer(state)
    except TooManyWaitingError as error:
        raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many queries wait", {"retry-after": "1"}) from error
    except StillDrawingError as error:
        raise Problem(HTTPStatus.ACCEPTED, "the map is being drawn", {"retry-after": "5"}) from error
    except MoeeError as error:
        message = state.tables.by_name(str(error))
        told = without_input(message, [sent, getattr(request.state, "conditions", None)], state.tables.names)
        raise Problem(status_of(error), told) from error


def _conditions(request: Request, where: list[str] | None) -> list[dict[str, Any]] | None:
    """The conditions of an address, whose parts no message is to repeat."""
    request.state.conditions = parse_conditions(where or []) or None
    return request.state.conditions


def _values(asked: SearchRequest | BatchRequest) -> list[Any]:
    """What was sent, without the names of the fields, and without the mode, which is one of three words."""
    return list(asked.model_dump(exclude={"mode"}).values())


async def _search(state: State, request: Request, asked: SearchRequest) -> dict[str, Any]:
    name, (hits,) = await _found(state, request, [asked])
    shown = _without_text(state, hits)
    return {"table": name, "hits": shown, **_marks(asked.query, shown)}


async def _found(state: State, request: Request, asked: Sequence[SearchRequest]) -> tuple[str, list[pa.Table]]:
    """The table's name, and the hits of searches that differ in query and alpha only."""
    for each in asked:
        _check(state, each)
    served = await _served(state, request, asked[0].table)
    where = await _where(state, served, asked[0])
    hits, together = await served.search([_question(each, where) for each in asked], state.run)
    counted = {"queries": len(asked), "batch": together, "hits": sum(each.num_rows for each in hits)}
    request.state.told.update(counted)
    return served.name, hits


async def _served(state: State, request: Request, name: str | None) -> ServedTable:
    """The table that is asked, which the log of requests is told."""
    served: ServedTable = await state.run(state.tables.get, name)
    request.state.told = {"table": served.name}
    return served


def _check(state: State, asked: SearchRequest) -> None:
    limits = state.settings.limits
    if asked.k + asked.offset > limits.k:
        raise UsageError(f"k and offset: at most {limits.k:,} together")
    if isinstance(asked.query, str) and len(asked.query) > limits.query_letters:
        raise UsageError(f"the query: at most {limits.query_letters:,} characters")
    _refuse_withheld(state, [asked.group_by], asked.where)


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


def _refuse_withheld(state: State, columns: Sequence[str | None], where: Any) -> None:
    """Conditions on texts that are withheld would tell them letter by letter."""
    if not state.settings.with_texts and ("text" in columns or _names_text(where)):
        raise UsageError("texts are withheld here: there are no conditions, groups or counts of them")


def _names_text(where: Any) -> bool:
    if isinstance(where, dict):
        parts = cast("dict[str, Any]", where)
        return "text" in parts or any(map(_names_text, parts.values()))
    return isinstance(where, list) and any(map(_names_text, cast("list[Any]", where)))


def _without_text(state: State, rows: pa.Table) -> pa.Table:
    if state.settings.with_texts:
        return rows
    return rows.drop_columns([name for name in ("text", PASSAGE) if name in rows.column_names])


async def _described(state: State, name: str) -> dict[str, Any]:
    served: ServedTable = await state.run(state.tables.get, name)
    dataset = served.table.dataset()
    kept = await state.answers.get((name, dataset.version, "kept"), lambda: _kept(dataset))
    model = await state.run(current_model, served.table)
    return {
        "table": name,
        "rows": dataset.count_rows(),
        "version": dataset.version,
        "columns": {field.name: str(field.type) for field in dataset.schema},
        "modes": await state.run(served.modes),
        "kept": kept,
        "topics": None if model is None else {"version": model.version, "count": model.topics},
        "spec": served.table.spec.model_dump(mode="json"),
    }


def _kept(dataset: LanceDataset) -> list[dict[str, Any]]:
    over, by = axes(dataset)
    return [
        {**asdict(column), "over": column.name in over, "by": column.name in by}
        for column in kept_columns(dataset.schema)
    ]


async def _of_topics(
    state: State, request: Request, table: str | None, view: Callable[..., Any], *asked: Any
) -> dict[str, Any]:
    """What `view` says of a table's newest topics; kept until the table or its topics change."""
    served = await _served(state, request, table)
    found: Topics = await state.run(load_topics, served.table)
    key = (served.name, served.table.dataset().version, found.model.model, view.__name__, *asked)
    return {"table": served.name, **(await state.answers.get(key, lambda: view(found, *asked)))}
