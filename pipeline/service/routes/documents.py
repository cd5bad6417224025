"""Documents, counts of their values, and what the tables are that hold them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse  # noqa: TC002 — FastAPI reads the annotations

from pipeline.errors import NotInTableError
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
from pipeline.service.topics import current_model
from pipeline.table.kept import kept_columns
from pipeline.table.query.grammar import parse_version
from pipeline.topics.views.axes import axes

if TYPE_CHECKING:
    from lance import LanceDataset

    from pipeline.service.state import State
    from pipeline.service.tables import ServedTable

__all__ = ["router"]

router = APIRouter()


@router.get("/documents/{id:path}", summary="A document")
async def document(request: Request, id: str, table: Table = None, at: At = None) -> JSONResponse:  # noqa: A002
    """Its row, or its chunks in their order."""

    async def answer(state: State) -> Any:
        served = await served_table(state, request, table)
        rows = await state.run(served.table.document, id, parse_version(at))
        if not rows.num_rows:
            raise NotInTableError("there is no document of this id")
        return {"table": served.name, "rows": without_text(state, rows)}

    return await answered(request, [id, table, at], answer)


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
        served = await served_table(state, request, table)
        conditions = conditions_of(request, where)
        refuse_withheld(state, column, conditions)
        counts = await state.run(
            lambda: served.table.facets(column, conditions, at=parse_version(at), most=most),
        )
        return {"table": served.name, "facets": counts}

    return await answered(request, [column, where, table, at], answer)


@router.get("/tables", summary="The tables that are served")
async def tables(request: Request) -> JSONResponse:
    """Name, rows, version, columns, how it is searched in words, kept columns, newest topic model, and the spec."""

    async def answer(state: State) -> Any:
        return {"tables": [await _described(state, name) for name in state.tables.names]}

    return await answered(request, None, answer)


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
