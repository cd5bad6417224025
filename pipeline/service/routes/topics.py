"""The newest topics of a table: the list, one of them, over a column and by a column, and as a map."""

from __future__ import annotations

import gzip
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import JSONResponse, Response

from pipeline.service.maps import MAX_POINTS
from pipeline.service.routes.answering import Table, answered, refuse_withheld, served_table, told_of
from pipeline.service.topics import by_column, over_column, overview, topic_detail
from pipeline.topics.versions.load import load_topics
from pipeline.topics.views.over import DEFAULT_BINS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.service.maps import ServedMap
    from pipeline.service.state import State
    from pipeline.topics.versions.load import Topics

__all__ = ["router"]

router = APIRouter()


@router.get("/topics", summary="The topics of a table")
async def topics(
    request: Request,
    words: Annotated[int | None, Query(ge=0, description="at most so many of each topic; all otherwise")] = None,
    table: Table = None,
) -> JSONResponse:
    """The newest topic model: its topics, largest first, and what changed against the model before."""
    return await answered(request, [table], lambda state: _of_topics(state, request, table, overview, words))


@router.get("/topics/over", summary="Topics over time")
async def topics_over(
    request: Request,
    column: Annotated[str, Query(description="of times, dates or whole numbers", examples=["year"])],
    bins: Annotated[int, Query(ge=2, le=200, description="at most so many intervals")] = DEFAULT_BINS,
    table: Table = None,
) -> JSONResponse:
    """For each topic how many of its documents fall into each interval; topic -1: documents in none."""

    async def answer(state: State) -> Any:
        refuse_withheld(state, [column], None)
        return await _of_topics(state, request, table, over_column, column, bins)

    return await answered(request, [column, table], answer)


@router.get("/topics/by", summary="Topics by the values of a column")
async def topics_by(
    request: Request,
    column: Annotated[str, Query(description="of texts, whole numbers, dates or truth values", examples=["author"])],
    most: Annotated[int, Query(ge=1, le=1000, description="at most so many values")] = 20,
    table: Table = None,
) -> JSONResponse:
    """For each of the most frequent values its topics: documents, share, and lift, which is share / usual share."""

    async def answer(state: State) -> Any:
        refuse_withheld(state, [column], None)
        return await _of_topics(state, request, table, by_column, column, most)

    return await answered(request, [column, table], answer)


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

    return await answered(request, [table], answer)


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

    found: ServedMap = await told_of(request, [table], answer)
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=found.headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed, headers = found.compressed, {**found.headers, "content-encoding": "gzip"}
    else:
        packed, headers = gzip.decompress(found.compressed), found.headers
    return Response(packed, headers=headers, media_type="application/octet-stream")


async def _of_topics(
    state: State, request: Request, table: str | None, view: Callable[..., Any], *asked: Any
) -> dict[str, Any]:
    """What `view` says of a table's newest topics; kept until the table or its topics change."""
    served = await served_table(state, request, table)
    found: Topics = await state.run(load_topics, served.table)
    key = (served.name, served.table.dataset().version, found.model.model, view.__name__, *asked)
    return {"table": served.name, **(await state.answers.get(key, lambda: view(found, *asked)))}
