"""An endpoint for assistants: some of the routes as tools of the Model Context Protocol, by its Python SDK.

A tool asks a route of this application, in this process. What the routes refuse, withhold and bound is refused,
withheld and bounded here, and the guard stands before both. Answers are shorter than those of the routes, for an
assistant reads every letter: long texts are cut and say so, and what has no room is counted.

No session is kept, so any replica may answer any request.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.parse import quote

import httpx2
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.types import CallToolResult, ListToolsResult, TextContent, Tool, ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.service.problems import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from mcp.server import ServerRequestContext
    from mcp.types import CallToolRequestParams, PaginatedRequestParams
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Assistants"]

MAX_HITS: Final = 50
HIT_LETTERS: Final = 1_000
"""Of each text in a list."""
DOCUMENT_LETTERS: Final = 20_000
"""Of each text of one document."""
ANSWER_LETTERS: Final = 60_000
"""Of all rows of an answer, as JSON."""

_TABLE: Final = Field(None, description="Which table; not needed where there is only one.")
_HITS: Final = Field(10, ge=1, le=MAX_HITS, description="How many documents.")


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    table: str | None = _TABLE


class _Search(_Arguments):
    query: str = Field(description="What to look for: a question or a sentence; words for mode text.")
    k: int = _HITS
    mode: Literal["vector", "text", "hybrid"] = Field("vector", description="By meaning, by words, or by both.")
    where: dict[str, Any] | None = Field(
        None, description='A condition on columns, such as {"year": {"gte": 1990}, "lang": ["de", "en"]}.'
    )


class _Similar(_Arguments):
    id: str = Field(description="Of a document, as a hit has it.")
    k: int = _HITS


class _Document(_Arguments):
    id: str = Field(description="Of a document, as a hit has it.")


class _Topics(_Arguments):
    topic: int | None = Field(None, description="One topic with examples; all of them without it.")


@dataclass(frozen=True, slots=True)
class _Tool:
    """A route as a tool: what it takes, and the request that this makes."""

    description: str
    arguments: type[_Arguments]
    request: Callable[[Any], dict[str, Any]]
    letters: int = HIT_LETTERS


_TOOLS: Final = {
    "search": _Tool(
        "Find documents by meaning or words, best first. Long texts are cut: document gives the whole one.",
        _Search,
        lambda asked: {"method": "POST", "url": "/search", "json": asked.model_dump(exclude_none=True)},
    ),
    "similar": _Tool(
        "Find the documents that are most like a given one.",
        _Similar,
        lambda asked: _get(f"/similar/{quote(asked.id, safe='')}", k=asked.k, table=asked.table),
    ),
    "document": _Tool(
        "Read a document: its text or its chunks, and its columns.",
        _Document,
        lambda asked: _get(f"/documents/{quote(asked.id, safe='')}", table=asked.table),
        DOCUMENT_LETTERS,
    ),
    "topics": _Tool(
        "List the topics of a table, largest first, with their words; or one topic with typical documents.",
        _Topics,
        lambda asked: _get("/topics" if asked.topic is None else f"/topics/{asked.topic}", table=asked.table),
    ),
}


class Assistants:
    """The endpoint as an ASGI application, which counts as a route of its `path`.

    Args:
        app: the application whose routes are asked.
        tables: what is served.
        body_bytes: of a request, at most.
    """

    path: Final = "/mcp"

    def __init__(self, app: ASGIApp, tables: Sequence[str], body_bytes: int) -> None:
        self._app = app
        server: Server[Any] = Server(
            "moee",
            instructions=f"Search in tables of documents, without writing into them. Tables: {', '.join(tables)}.",
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        self._manager = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=body_bytes
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        """While this context lasts, once, requests are answered."""
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of the protocol."""
        scope["route"] = self  # Starlette sets none for an application
        await self._manager.handle_request(scope, receive, _Discreet(send))

    async def _list(self, _: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        hints = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        return ListToolsResult(
            tools=[
                Tool(
                    name=name,
                    description=tool.description,
                    input_schema=tool.arguments.model_json_schema(),
                    annotations=hints,
                )
                for name, tool in _TOOLS.items()
            ]
        )

    async def _call(self, _: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        tool = _TOOLS.get(params.name)
        if tool is None:
            return _refused(f"there is no such tool; there are {', '.join(_TOOLS)}")
        try:
            asked = tool.arguments.model_validate(params.arguments or {})
        except ValidationError as error:
            return _refused(invalid(error.errors()))
        transport = httpx2.ASGITransport(self._app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://service") as client:
            answer = await client.request(**tool.request(asked))
        content = answer.json()
        if not answer.is_success:
            return _refused(content["detail"])
        return _told(json.dumps(_fitting(_cut(content, tool.letters)), ensure_ascii=False))


class _Discreet:
    """The SDK's answers, the errors among them without what they repeat of a request."""

    def __init__(self, send: Send) -> None:
        self._send, self._begin, self._body = send, dict[str, Any](), b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin = {**message}
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = _discreet(self._body)
        headers = [header for header in self._begin["headers"] if header[0].lower() != b"content-length"]
        self._begin["headers"] = [*headers, (b"content-length", str(len(body)).encode())]
        await self._send(self._begin)
        await self._send({"type": "http.response.body", "body": body})


def _discreet(body: bytes) -> bytes:
    """Of an error the kind alone: what follows a colon, and text as its data, quotes the request."""
    try:
        answer = json.loads(body)
        error = answer["error"]
        error["message"] = error["message"].partition(":")[0]
    except (ValueError, KeyError, TypeError):
        return body  # no error
    if isinstance(error.get("data"), str):
        del error["data"]
    return json.dumps(answer).encode()


def _get(url: str, **params: Any) -> dict[str, Any]:
    given = {name: value for name, value in params.items() if value is not None}
    return {"method": "GET", "url": url, "params": given}


def _told(text: str, *, is_error: bool = False) -> CallToolResult:
    return CallToolResult(content=[TextContent(text=text)], is_error=is_error)


def _refused(detail: str) -> CallToolResult:
    return _told(detail, is_error=True)


def _cut(value: Any, letters: int) -> Any:
    """`value` with every text in it of so many letters at most; those that are cut say how much is missing."""
    if isinstance(value, str) and len(value) > letters:
        return f"{value[:letters]} … ({len(value) - letters:,} more characters)"
    if isinstance(value, dict):
        return {name: _cut(each, letters) for name, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_cut(each, letters) for each in cast("list[Any]", value)]
    return value


def _fitting(answer: dict[str, Any]) -> dict[str, Any]:
    """`answer` with as many rows of its lists as there is room for; ``left_out`` counts the others."""
    room = ANSWER_LETTERS
    shown, left_out = dict(answer), dict[str, int]()
    for name, rows in answer.items():
        if not isinstance(rows, list):
            continue
        kept: list[Any] = []
        for row in cast("list[Any]", rows):
            room -= len(json.dumps(row, ensure_ascii=False))
            if room < 0:
                break
            kept.append(row)
        shown[name] = kept
        if len(kept) < len(cast("list[Any]", rows)):
            left_out[name] = len(cast("list[Any]", rows)) - len(kept)
    return {**shown, "left_out": left_out} if left_out else shown
