"""What the routes share: which table is asked, what is withheld, and answers as JSON or as problems."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import Query, Request
from fastapi.responses import JSONResponse

from pipeline.errors import MoeeError, UsageError
from pipeline.service.batcher import TooManyWaitingError
from pipeline.service.maps import StillDrawingError
from pipeline.service.problems import Problem, status_of, without_input
from pipeline.table.query.grammar import parse_conditions
from pipeline.table.schema import PASSAGE
from pipeline.values import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from pipeline.service.state import State
    from pipeline.service.tables import ServedTable

__all__ = [
    "At",
    "Table",
    "Where",
    "answered",
    "conditions_of",
    "refuse_withheld",
    "served_table",
    "told_of",
    "without_text",
]

Where = Annotated[list[str] | None, Query(description="year>=1990, lang=de, 'editor is null'; all hold")]
Table = Annotated[str | None, Query(description="which table; the only one where there is one")]
At = Annotated[str | None, Query(description="a version of the table, or a tag")]


async def answered(request: Request, sent: Any, answer: Callable[[State], Any]) -> JSONResponse:
    """The answer as JSON, or a problem."""
    told = await told_of(request, sent, answer)
    state: State = request.app.state.service
    return await state.run(lambda: JSONResponse(as_json(told)))  # ten thousand hits take half a second


async def told_of(request: Request, sent: Any, answer: Callable[[State], Any]) -> Any:
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


def conditions_of(request: Request, where: list[str] | None) -> list[dict[str, Any]] | None:
    """The conditions of an address, whose parts no message is to repeat."""
    request.state.conditions = parse_conditions(where or []) or None
    return request.state.conditions


async def served_table(state: State, request: Request, name: str | None) -> ServedTable:
    """The table that is asked, which the log of requests is told."""
    served: ServedTable = await state.run(state.tables.get, name)
    request.state.told = {"table": served.name}
    return served


def refuse_withheld(state: State, columns: Sequence[str | None], where: Any) -> None:
    """Conditions on texts that are withheld would tell them letter by letter."""
    if not state.settings.with_texts and ("text" in columns or _names_text(where)):
        raise UsageError("texts are withheld here: there are no conditions, groups or counts of them")


def _names_text(where: Any) -> bool:
    if isinstance(where, dict):
        parts = cast("dict[str, Any]", where)
        return "text" in parts or any(map(_names_text, parts.values()))
    return isinstance(where, list) and any(map(_names_text, cast("list[Any]", where)))


def without_text(state: State, rows: pa.Table) -> pa.Table:
    """The rows, without their texts where these are withheld."""
    if state.settings.with_texts:
        return rows
    return rows.drop_columns([name for name in ("text", PASSAGE) if name in rows.column_names])
