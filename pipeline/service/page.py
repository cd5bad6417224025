"""The page at ``/``, and the one at ``/docs`` about the routes: static files of this package, which ask the routes.

They need no token; what they show does. A browser keeps them and asks each time whether they are still the same.
"""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline.service.problems import Problem

__all__ = ["page_router"]

page_router = APIRouter(include_in_schema=False)

_CANVAS: Final = ("canvas.css", "canvas.js", "gestures.js", "labels.js", "splat.js")
"""Of the map, which `pipeline.topics.views.page` has too."""
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


@page_router.get("/")
async def index(request: Request) -> Response:
    """The page."""
    return await part(request, "index.html")


@page_router.get("/docs")
async def docs(request: Request) -> Response:
    """What ``/openapi.json`` says, for people."""
    return await part(request, "docs.html")


@page_router.get("/web/{name}")
async def part(request: Request, name: str) -> Response:
    """A file of the page, or that it is the same as before."""
    found = _files().get(name)
    if found is None:
        raise Problem(HTTPStatus.NOT_FOUND, "the page has no such file")
    content, tag = found
    headers = {"etag": tag, "cache-control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[name.rpartition(".")[2]])


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """Each file by its name: content, and a tag that changes with it."""
    own, canvas = (files("pipeline").joinpath(*folder, "web") for folder in (("service",), ("topics", "views")))
    page = [file for file in own.iterdir() if file.name.rpartition(".")[2] in _TYPES]
    contents = {file.name: file.read_bytes() for file in (*page, *map(canvas.joinpath, _CANVAS))}
    return {name: (content, f'W/"{sha256(content).hexdigest()[:16]}"') for name, content in contents.items()}
