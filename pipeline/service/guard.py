"""Who may ask, and how much: one layer around the whole application.

    how many at once ─▶ Host ─▶ Origin ─▶ token ─▶ size of the body ─▶ time ─▶ the application

A page of another origin must not read a table through its visitor's browser, so a request whose ``Host`` is not the
service's (DNS rebinding) or whose ``Origin`` is another one is refused; there are no CORS headers and no cookies. What
is static and what tells whether the service lives needs no token.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders

from pipeline.service.problems import Problem, problem_response
from pipeline.tokens import token_matches

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from pipeline.service.metrics import Metrics
    from pipeline.service.settings import ServiceSettings

__all__ = ["Guard", "log_requests"]

access_log = logging.getLogger("pipeline.service.access")

_ALIVE: Final = ("/healthz", "/readyz")
_PAGES: Final = ("/", "/docs")
_PARTS: Final = "/web/"
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def log_requests() -> None:
    """Log each request to stderr as it is: lines of JSON, for programs."""
    access_log.addHandler(logging.StreamHandler(sys.stderr))
    access_log.setLevel(logging.INFO)
    access_log.propagate = False


class Guard:
    """An ASGI layer; it also counts requests, and logs each as one line of JSON without what was asked."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._active = 0
        local = _LOCAL_NAMES if settings.is_local else (settings.host,)
        self._names = {name.lower() for name in (*local, *settings.host_names)}
        # An address of all interfaces is nobody's name: there the token alone decides, unless names are given.
        self._checks_names = settings.is_local or bool(settings.host_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server leaves out the body
            scope = {**scope, "method": "GET"}
        answer = _Answer(send)
        begun = time.perf_counter()
        self._active += 1
        self._metrics.active.set(self._active)
        try:
            self._refuse(scope)
            async with asyncio.timeout(self._settings.limits.seconds):
                await self._app(scope, _Body(receive, self._settings.limits.body_bytes), answer)
        except Problem as problem:
            await answer.problem(scope, receive, problem)
        except TimeoutError:
            await answer.problem(scope, receive, Problem(HTTPStatus.REQUEST_TIMEOUT, "the request took too long"))
        except asyncio.CancelledError:  # by a server that ends and does not wait
            await answer.problem(scope, receive, Problem(HTTPStatus.SERVICE_UNAVAILABLE, "the service ends"))
        finally:
            self._active -= 1
            self._metrics.active.set(self._active)
            self._note(scope, answer.status, time.perf_counter() - begun)

    def _refuse(self, scope: Scope) -> None:
        """Raise what stands against a request before anything of it is read."""
        headers = Headers(scope=scope)
        if self._active > self._settings.limits.requests and scope["path"] not in _ALIVE:
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests at once", {"retry-after": "1"})
        host = _name_of(headers.get("host", ""))
        if self._checks_names and host not in self._names:
            raise Problem(HTTPStatus.MISDIRECTED_REQUEST, "this service goes by another name (--host-name adds one)")
        origin = headers.get("origin")
        if origin is not None and _netloc(origin) != headers.get("host", "").lower():
            raise Problem(HTTPStatus.FORBIDDEN, "pages of other origins are not answered")
        if self._settings.token_hash is not None and not _needs_no_token(scope["path"]):
            kind, _, token = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not token_matches(token.strip(), self._settings.token_hash):
                raise Problem(HTTPStatus.UNAUTHORIZED, "a bearer token is needed", {"www-authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdecimal() and (len(length) > 19 or int(length) > self._settings.limits.body_bytes):
            raise _too_large(self._settings.limits.body_bytes)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log a request by its route: a path may hold ids."""
        route: Any = scope.get("route")
        path = getattr(route, "path", "other")
        self._metrics.requests.labels(path, status).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        if access_log.isEnabledFor(logging.INFO):
            line = {"method": scope["method"], "route": path, "status": status, "ms": round(1000 * seconds, 1)}
            access_log.info(json.dumps({"time": _now(), **line, **scope.get("state", {}).get("told", {})}))


class _Body:
    """What a client sends, which ends in a problem where it is too large."""

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._read = receive, most, 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise _too_large(self._most)
        return message


class _Answer:
    """What the application sends, with headers for safety; a problem takes its place while nothing was sent."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    async def problem(self, scope: Scope, receive: Receive, problem: Problem) -> None:
        if not self.status:
            await problem_response(problem)(scope, receive, self)


def _needs_no_token(path: str) -> bool:
    return path in (*_ALIVE, *_PAGES) or path.startswith(_PARTS)


def _too_large(most: int) -> Problem:
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body of a request has at most {most:,} bytes")


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
