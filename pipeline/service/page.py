"""The page at ``/``: static files of this package, which ask the routes. They need no token; what they show does."""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.service.problems import Problem

__all__ = ["page_router"]

page_router = APIRouter(include_in_schema=False)

_CANVAS: Final = ("canvas.css", "canvas.js", "gestures.js", "labels.js", "splat.js")
"""Of the map, which `pipeline.topics.views.page` has too."""
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@page_router.get("/")
async def index() -> Response:
    """The page."""
    return await part("index.html")


@page_router.get("/web/{name}")
async def part(name: str) -> Response:
    """A file of the page."""
    content = _files().get(name)
    if content is None:
        raise Problem(HTTPStatus.NOT_FOUND, "the page has no such file")
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]])


@cache
def _files() -> dict[str, bytes]:
    own, canvas = (files("pipeline").joinpath(*folder, "web") for folder in (("service",), ("topics", "views")))
    page = [file for file in own.iterdir() if file.name.rpartition(".")[2] in _TYPES]
    return {file.name: file.read_bytes() for file in (*page, *map(canvas.joinpath, _CANVAS))}
