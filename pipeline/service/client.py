"""Clients of a service, with the names and arguments of `VectorTable`: one that waits, one for ``async``."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import httpx2
import numpy as np
import pyarrow as pa

from pipeline.errors import MoeeError, NotInTableError, UsageError
from pipeline.service.maps import PackedMap
from pipeline.service.models import MAX_BATCH_HITS
from pipeline.values import as_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from pipeline.table.query.conditions import Where
    from pipeline.table.query.question import Mode

__all__ = ["AsyncClient", "Client", "ServiceError"]

_TRIES: Final = 4
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.ACCEPTED)
_LONGEST_WAIT: Final = 10.0
"""Seconds before another try, whatever an answer asks for."""

_BATCH: Final = 64
"""Queries in words in one request of `search_many`."""

_VECTORS: Final = 8
"""Vectors in one request: as JSON one of 5,000 numbers takes 100 kB, and a body has at most 1 MiB."""


class ServiceError(MoeeError):
    """The service refused, is busy, or cannot be reached."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, and how its answer is read."""

    method: str
    path: str
    content: dict[str, Any]
    read: Callable[[httpx2.Response], Any]


class _Calls:
    """What both clients ask for."""

    def __init__(self, url: str, token: str | None, table: str | None) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url}: the address of a service begins with http:// or https://")
        self._url, self._table = url.rstrip("/"), table
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r}, table={self._table!r})"

    def _search(self, query: str | np.ndarray | None, **fields: Any) -> _Call:
        return self._post("/search", {"query": query, **fields}, lambda answer: _rows(answer["hits"]))

    def _search_many(
        self, queries: Sequence[str] | np.ndarray, alpha: float | Sequence[float | None] | None, **fields: Any
    ) -> Iterator[_Call]:
        several = isinstance(alpha, Sequence)
        if several and len(alpha) != len(queries):
            raise UsageError(f"{len(queries)} queries, but {len(alpha)} values of alpha")
        size = _BATCH if all(isinstance(query, str) for query in queries) else _VECTORS
        depth = sum(part for part in (fields["k"], fields.get("offset")) if isinstance(part, int))
        size = max(1, min(size, MAX_BATCH_HITS // max(1, depth)))
        for begin in range(0, len(queries), size):
            some = slice(begin, begin + size)
            body = {"queries": list(queries[some]), "alpha": alpha[some] if several else alpha, **fields}
            yield self._post("/search/batch", body, lambda answer: [_rows(hits) for hits in answer["answers"]])

    def _document(self, name: str, at: int | str | None) -> _Call:
        path = f"/documents/{quote(name, safe='')}"
        return self._get(path, {"at": at}, lambda answer: _rows(answer["rows"]))

    def _facets(self, columns: Sequence[str], where: Where | None, at: int | str | None, most: int) -> _Call:
        conditions = [where] if isinstance(where, Mapping) else where or []
        asked = {"column": list(columns), "where": [_json(each) for each in conditions], "at": at, "most": most}
        return self._get(
            "/facets", asked, lambda answer: {name: _rows(counts) for name, counts in answer["facets"].items()}
        )

    def _topics(self, path: str = "", **fields: Any) -> _Call:
        return self._get(f"/topics{path}", fields, lambda answer: answer)

    def _map(self, points: int | None) -> _Call:
        return _Call("GET", "/map", {"params": self._given({"points": points})}, _points)

    def _post(self, path: str, fields: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> _Call:
        body = {"content": _json(self._given(fields)), "headers": {"content-type": "application/json"}}
        return _Call("POST", path, body, lambda answer: read(answer.json()))

    def _get(self, path: str, fields: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> _Call:
        return _Call("GET", path, {"params": self._given(fields)}, lambda answer: read(answer.json()))

    def _given(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in {"table": self._table, **fields}.items() if value is not None}

    def _unreachable(self, error: httpx2.HTTPError) -> ServiceError:
        return ServiceError(
            f"{self._url} does not answer ({type(error).__name__}): is it running, and is this its port?"
        )


def _json(asked: Any) -> str:
    try:
        return json.dumps(asked, default=_plain, allow_nan=False)
    except ValueError as error:
        raise UsageError("NaN and infinity are no numbers to ask with") from error


def _plain(value: Any) -> Any:
    """What JSON does not know, as it can hold it."""
    if isinstance(value, set | frozenset | np.ndarray):
        return list(value) if isinstance(value, set | frozenset) else value.astype(float).tolist()
    return as_json(value)


def _rows(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


def _points(answer: httpx2.Response) -> pa.Table:
    drawn = PackedMap.of(answer.content)
    x, y = drawn.xy / np.float32(65_535)
    topics = np.array([*(topic["topic"] for topic in drawn.head["topics"]), -1], np.int64)
    return pa.table({"id": drawn.head["ids"], "x": x, "y": y, "topic": topics[drawn.topic]})


def _read(answer: httpx2.Response, call: _Call) -> Any:
    """What an answer says.

    Raises:
        UsageError, NotInTableError, ServiceError: as the problem is.
    """
    if answer.is_success and answer.status_code != HTTPStatus.ACCEPTED:
        return call.read(answer)
    try:
        detail = str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        detail = answer.reason_phrase
    kind = {422: UsageError, 404: NotInTableError}.get(answer.status_code, ServiceError)
    raise kind(f"{call.path}: {detail}")


def _seconds_to_wait(answer: httpx2.Response, tries: int) -> float | None:
    """Before a service is asked again that is busy, or says when it is there again; None: it is not asked."""
    after = answer.headers.get("retry-after", "")
    busy = answer.status_code in _BUSY
    back_soon = answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and after
    if tries == _TRIES or not (busy or back_soon):
        return None
    return min(float(after), _LONGEST_WAIT) if after.isdecimal() else 1.0


class Client(_Calls):
    """A service, asked from ordinary code.

    One that is busy (status 429), or says when it is there again (503 with ``Retry-After``), is asked again, three
    times. Nothing else is: not where the connection breaks, nor where no answer comes in time.

    Args:
        url: such as ``http://127.0.0.1:8000``.
        token: what ``moee serve --new-token`` printed; None: none is asked for.
        table: which table; None: the only one.
        seconds: to wait for an answer.

    Every method raises UsageError for what cannot be asked, NotInTableError for what is not there, and ServiceError
    where the service is busy, refuses, or cannot be reached.
    """

    def __init__(self, url: str, *, token: str | None = None, table: str | None = None, seconds: float = 30.0) -> None:
        super().__init__(url, token, table)
        self._http = httpx2.Client(base_url=self._url, headers=self._headers, timeout=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def search(
        self,
        query: str | np.ndarray | None = None,
        k: int = 10,
        alpha: float | None = None,
        where: Where | None = None,
        mode: Mode = "vector",
        **options: Any,
    ) -> pa.Table:
        """As `VectorTable.search`, without ``where_sql``, and with `topic`; values as JSON holds them."""
        return self._asked(self._search(query, k=k, alpha=alpha, where=where, mode=mode, **options))

    def search_many(
        self,
        queries: Sequence[str] | np.ndarray,
        k: int = 10,
        alpha: float | Sequence[float | None] | None = None,
        where: Where | None = None,
        mode: Mode = "vector",
        **options: Any,
    ) -> Iterator[pa.Table]:
        """As `VectorTable.search_many`, in requests of some queries, each of which is answered as a whole or not."""
        for call in self._search_many(queries, alpha, k=k, where=where, mode=mode, **options):
            yield from self._asked(call)

    def document(self, id: str, at: int | str | None = None) -> pa.Table:  # noqa: A002
        """As `VectorTable.document`."""
        return self._asked(self._document(id, at))

    def facets(
        self, columns: Sequence[str], where: Where | None = None, *, at: int | str | None = None, most: int = 20
    ) -> dict[str, pa.Table]:
        """As `VectorTable.facets`, without ``where_sql``."""
        return self._asked(self._facets(columns, where, at, most))

    def topics(self) -> dict[str, Any]:
        """The newest topics of the table, and what changed."""
        return self._asked(self._topics())

    def map(self, points: int | None = None) -> pa.Table:
        """The map of the newest topics, a row for each document that it shows.

        Args:
            points: how many documents at most; None: as many as the service shows.

        Returns:
            ``id`` string; ``x`` and ``y`` float32, both in [0, 1]; ``topic`` int64, -1 for documents in none.
        """
        return self._asked(self._map(points))

    def topic(self, topic: int, examples: int = 5) -> dict[str, Any]:
        """One of them: words, typical documents, its size in each version and what happened to it."""
        return self._asked(self._topics(f"/{topic}", examples=examples))

    def topics_over(self, column: str, bins: int = 20) -> dict[str, Any]:
        """How many documents of each topic fall into each interval of a column of times or whole numbers."""
        return self._asked(self._topics("/over", column=column, bins=bins))

    def topics_by(self, column: str, most: int = 20) -> dict[str, Any]:
        """The most frequent values of a column, each with its topics: count, share, lift."""
        return self._asked(self._topics("/by", column=column, most=most))

    def _asked(self, call: _Call) -> Any:
        for tries in range(1, _TRIES + 1):
            try:
                answer = self._http.request(call.method, call.path, **call.content)
            except httpx2.HTTPError as error:
                raise self._unreachable(error) from error
            seconds = _seconds_to_wait(answer, tries)
            if seconds is None:
                return _read(answer, call)
            time.sleep(seconds)
        raise AssertionError(call.path)


class AsyncClient(_Calls):
    """The same for ``async`` code: arguments, results and errors are those of `Client`."""

    def __init__(self, url: str, *, token: str | None = None, table: str | None = None, seconds: float = 30.0) -> None:
        super().__init__(url, token, table)
        self._http = httpx2.AsyncClient(base_url=self._url, headers=self._headers, timeout=seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def search(
        self,
        query: str | np.ndarray | None = None,
        k: int = 10,
        alpha: float | None = None,
        where: Where | None = None,
        mode: Mode = "vector",
        **options: Any,
    ) -> pa.Table:
        """As `Client.search`."""
        return await self._asked(self._search(query, k=k, alpha=alpha, where=where, mode=mode, **options))

    async def search_many(
        self,
        queries: Sequence[str] | np.ndarray,
        k: int = 10,
        alpha: float | Sequence[float | None] | None = None,
        where: Where | None = None,
        mode: Mode = "vector",
        **options: Any,
    ) -> AsyncIterator[pa.Table]:
        """As `Client.search_many`."""
        for call in self._search_many(queries, alpha, k=k, where=where, mode=mode, **options):
            for hits in await self._asked(call):
                yield hits

    async def document(self, id: str, at: int | str | None = None) -> pa.Table:  # noqa: A002
        """As `Client.document`."""
        return await self._asked(self._document(id, at))

    async def facets(
        self, columns: Sequence[str], where: Where | None = None, *, at: int | str | None = None, most: int = 20
    ) -> dict[str, pa.Table]:
        """As `Client.facets`."""
        return await self._asked(self._facets(columns, where, at, most))

    async def topics(self) -> dict[str, Any]:
        """As `Client.topics`."""
        return await self._asked(self._topics())

    async def map(self, points: int | None = None) -> pa.Table:
        """As `Client.map`."""
        return await self._asked(self._map(points))

    async def topic(self, topic: int, examples: int = 5) -> dict[str, Any]:
        """As `Client.topic`."""
        return await self._asked(self._topics(f"/{topic}", examples=examples))

    async def topics_over(self, column: str, bins: int = 20) -> dict[str, Any]:
        """As `Client.topics_over`."""
        return await self._asked(self._topics("/over", column=column, bins=bins))

    async def topics_by(self, column: str, most: int = 20) -> dict[str, Any]:
        """As `Client.topics_by`."""
        return await self._asked(self._topics("/by", column=column, most=most))

    async def _asked(self, call: _Call) -> Any:
        for tries in range(1, _TRIES + 1):
            try:
                answer = await self._http.request(call.method, call.path, **call.content)
            except httpx2.HTTPError as error:
                raise self._unreachable(error) from error
            seconds = _seconds_to_wait(answer, tries)
            if seconds is None:
                return _read(answer, call)
            await asyncio.sleep(seconds)
        raise AssertionError(call.path)
