"""Whether the service lives, whether it can answer, and what it counts."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from pipeline.errors import MoeeError
from pipeline.service.metrics import CONTENT_TYPE
from pipeline.service.problems import Problem

if TYPE_CHECKING:
    from pipeline.service.state import State

__all__ = ["router"]

router = APIRouter()


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
