"""What a service answers. Every answer but the map is JSON; an error is a problem (`pipeline.service.problems`)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Depends, Request

from pipeline.service.problems import Problem
from pipeline.service.routes import documents, health, searches, topics

__all__ = ["router"]


def _refuse_unknown(request: Request) -> None:
    """A field of an address that is misspelt would be a filter that does not hold; probes may add what they like."""
    route: Any = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params}
    if route.include_in_schema and not known.issuperset(request.query_params):
        there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the address has a field that is not known; {there}")


router = APIRouter(dependencies=[Depends(_refuse_unknown)])
for _part in (searches, documents, topics, health):
    router.include_router(_part.router)
