"""Errors as problem JSON (RFC 9457), which never repeat what was sent.

A message of this package quotes what was wrong. Here the quoted parts, and whatever else is among the words of the
request, become ``…``: an answer is copied into logs and pages where other people's input has no place.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.responses import Response

from pipeline.errors import MoeeError, NotInTableError, TableNotFoundError, TopicError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Problem", "invalid", "problem_response", "status_of", "without_input"]

_QUOTED: Final = re.compile(r"(?<!\w)'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_VECTOR: Final = re.compile(r"array\(.*", re.DOTALL)
_COMPARED: Final = re.compile(r"where [^:]*=[^:]*:")
_SHORTEST: Final = 3
"""Letters of a word of the request that is looked for in a message."""


class Problem(Exception):  # noqa: N818  an answer, not a fault
    """An answer with a status other than 200."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


def problem_response(problem: Problem) -> Response:
    """The answer that tells of a problem."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
    }
    return Response(
        json.dumps(body, ensure_ascii=False), problem.status, problem.headers, media_type="application/problem+json"
    )


def invalid(errors: Sequence[Any]) -> str:
    """What is wrong by the first of pydantic's `errors` and the name of its field, without the value."""
    first = errors[0]
    if first["type"] == "extra_forbidden":
        return "body: there is a field that is not known"
    if first["type"] in {"json_invalid", "model_attributes_type"}:
        return "body: no JSON object, or no header content-type: application/json"
    known = [str(part) for part in first["loc"] if isinstance(part, str) and part.isidentifier() and len(part) < 20]
    return f"{'.'.join(known)}: {first['msg']}"


def status_of(error: MoeeError) -> int:
    """The status that an error of this package stands for."""
    if isinstance(error, UsageError):
        return HTTPStatus.UNPROCESSABLE_ENTITY
    missing = isinstance(error, TableNotFoundError | NotInTableError | TopicError)
    return HTTPStatus.NOT_FOUND if missing else HTTPStatus.SERVICE_UNAVAILABLE


def without_input(message: str, sent: Any, known: Iterable[str] = ()) -> str:
    """`message` with ``…`` for what it quotes and for every word of `sent`, a request at any depth, but the `known`."""
    message = _COMPARED.sub("where …:", _VECTOR.sub("…", _QUOTED.sub("…", message)))
    for word in sorted({*_words(sent)} - {*known}, key=len, reverse=True):
        message = message.replace(word, "…")
    return message


def _words(sent: Any) -> Iterable[str]:
    if isinstance(sent, str):
        if len(sent) >= _SHORTEST:
            yield sent
    elif isinstance(sent, dict):
        for name, value in cast("dict[Any, Any]", sent).items():
            yield from _words(name)
            yield from _words(value)
    elif isinstance(sent, list | tuple):
        for value in cast("list[Any]", sent):
            yield from _words(value)
