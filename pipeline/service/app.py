"""The application: routes behind the guard, tables and replicas behind the routes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from pipeline.service.guard import Guard
from pipeline.service.metrics import Metrics
from pipeline.service.problems import Problem, problem_response
from pipeline.service.routes import router
from pipeline.service.state import State
from pipeline.service.tables import ServedTables

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.responses import Response

    from pipeline.service.settings import ServiceSettings

__all__ = ["create_app"]


def create_app(settings: ServiceSettings) -> Guard:
    """The service as an ASGI application; its replicas are loaded while it starts.

    Raises:
        UsageError, TableError: a table cannot be served.
    """
    metrics = Metrics()
    tables = ServedTables(settings, metrics.batches.observe)
    state = State(settings, tables, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await state.run(tables.warm_up)
        state.ready.set()
        yield
        state.threads.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="MoEE search",
        description="Search, documents, facets and topics of tables of MoEE vectors. Nothing here writes.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = state
    app.include_router(router)
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    return Guard(app, settings, metrics)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


def _invalid(_: Request, error: Exception) -> Response:
    """What is wrong with a request by the name of its field; FastAPI's own answer would repeat the value."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    known = [str(part) for part in first["loc"] if isinstance(part, str) and part.isidentifier() and len(part) < 20]
    where = ".".join(known) if first["type"] != "extra_forbidden" else "body"
    told = "there is a field that is not known" if first["type"] == "extra_forbidden" else first["msg"]
    if first["type"] in {"json_invalid", "model_attributes_type"}:
        where, told = "body", "no JSON object, or no header content-type: application/json"
    return problem_response(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {told}"))


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem_response(Problem(error.status_code, HTTPStatus(error.status_code).description))


def _unexpected(_: Request, __: Exception) -> Response:
    """Starlette logs what it was."""
    return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here"))
