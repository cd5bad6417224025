"""The application: routes behind the guard, tables and replicas behind the routes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from pipeline.errors import UsageError
from pipeline.service.guard import Guard
from pipeline.service.metrics import Metrics
from pipeline.service.page import page_router
from pipeline.service.problems import Problem, invalid, problem_response
from pipeline.service.routes import router
from pipeline.service.state import State
from pipeline.service.tables import ServedTables

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.responses import Response

    from pipeline.service.assistants import Assistants
    from pipeline.service.settings import ServiceSettings

__all__ = ["create_app"]


def create_app(settings: ServiceSettings, *, warm: bool = False) -> Guard:
    """The service as an ASGI application; its replicas are loaded here, if it is to be `warm`, or while it starts.

    Raises:
        UsageError, TableError, ModelError, FingerprintError: a table cannot be served.
    """
    metrics = Metrics()
    tables = ServedTables(settings, metrics.batches.observe)
    if warm:
        tables.warm_up()
    state = State(settings, tables, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        await state.run(tables.warm_up)
        state.ready.set()
        async with nullcontext() if assistants is None else assistants.running():
            with suppress(asyncio.CancelledError):  # a server that ends and does not wait
                yield
        state.close()

    app = FastAPI(
        title="MoEE search",
        description="Search, documents, facets and topics of tables of MoEE vectors. Nothing here writes.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.service = state
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)
    app.include_router(router)
    app.include_router(page_router)
    assistants = _assistants(app, settings, tables) if settings.mcp else None
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)
    return Guard(app, settings, metrics)


def _assistants(app: FastAPI, settings: ServiceSettings, tables: ServedTables) -> Assistants:
    try:
        from pipeline.service.assistants import Assistants
    except ImportError as error:
        raise UsageError("the endpoint for assistants needs the extra mcp: pip install 'moee-pipeline[mcp]'") from error
    assistants = Assistants(app, tables.names, settings.limits.body_bytes)
    app.router.routes.append(Route(assistants.path, assistants, methods=["POST"], include_in_schema=False))
    return assistants


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


def _invalid(_: Request, error: Exception) -> Response:
    """FastAPI's own answer would repeat the value."""
    assert isinstance(error, RequestValidationError)
    return problem_response(Problem(HTTPStatus.UNPROCESSABLE_ENTITY, invalid(error.errors())))


def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, Problem):  # of the guard, met by FastAPI while it read the body
        return problem_response(error.__cause__)
    said = HTTPStatus(error.status_code).description
    if error.status_code == HTTPStatus.BAD_REQUEST:
        said = "body: it cannot be read as JSON"
    return problem_response(Problem(error.status_code, said, error.headers))


def _unexpected(_: Request, __: Exception) -> Response:
    """Starlette logs what it was."""
    return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here"))
