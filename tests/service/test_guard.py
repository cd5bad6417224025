"""Who may ask, and how much."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from pipeline.errors import UsageError
from pipeline.service.guard import Guard
from pipeline.service.metrics import Metrics
from pipeline.service.settings import Limits, ServiceSettings
from pipeline.tokens import new_token, parse_token_hash, token_hash, token_matches

TOKEN = new_token()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org"])
def test_an_address_that_others_reach_needs_a_token(host):
    with pytest.raises(UsageError, match="needs a token"):
        ServiceSettings(tables=("t",), host=host)
    assert ServiceSettings(tables=("t",), host=host, token_hash=token_hash(TOKEN)).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.5", "::1", "localhost"])
def test_this_machine_needs_none(host):
    assert ServiceSettings(tables=("t",), host=host).is_local


def test_a_token_is_kept_as_a_hash_and_compared_as_a_whole():
    kept = token_hash(TOKEN)
    assert TOKEN not in kept
    assert TOKEN not in repr(ServiceSettings(tables=("t",), token_hash=kept))
    assert parse_token_hash(f"sha256:{kept.upper()}") == kept
    assert token_matches(TOKEN, kept)
    for wrong in (TOKEN[:-1], TOKEN + "a", "", "\udcff"):
        assert not token_matches(wrong, kept)
    with pytest.raises(UsageError, match="at least 24 letters"):
        token_hash("secret")
    with pytest.raises(UsageError, match="64 hexadecimal digits") as raised:
        parse_token_hash(TOKEN)
    assert TOKEN not in str(raised.value)


async def plain(scope, receive, send):
    """An application that reads its body and answers after as many seconds as its query says."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(float(scope["query_string"] or 0))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def asked(settings, *requests, limits=None, base="http://127.0.0.1:8000"):
    """The answers to requests that are sent at once."""

    async def answers():
        chosen = ServiceSettings(tables=("t",), limits=Limits(**(limits or {})), **settings)
        transport = httpx2.ASGITransport(app=Guard(plain, chosen, Metrics()))
        async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
            return await asyncio.gather(*(client.request(*request[:2], **request[2]) for request in requests))

    return asyncio.run(answers())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:9000"}, 200),
        ({"host": "LOCALHOST"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8000"}, 421),
        ({"host": "[::1"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9000"}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_host_and_origin(headers, status):
    (answer,) = asked({}, ("GET", "/", {"headers": headers}))
    assert answer.status_code == status
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN} ", 200),
        (None, 401),
        (f"Basic {TOKEN}", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        ("Bearer", 401),
        (b"Bearer \xff\xfe", 401),
    ],
)
def test_a_token_is_asked_for_before_anything_is_read(authorization, status):
    headers = {} if authorization is None else {"authorization": authorization}
    settings = {"host": "0.0.0.0", "token_hash": token_hash(TOKEN)}
    (answer,) = asked(settings, ("GET", "/search", {"headers": headers}), base="http://search.example.org")
    assert answer.status_code == status
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_whether_it_lives_and_the_page_need_no_token():
    settings = {"host": "0.0.0.0", "token_hash": token_hash(TOKEN)}
    paths = ["/healthz", "/", "/docs", "/web/app.js", "/metrics", "/webs", "/tables", "/openapi.json"]
    answers = asked(settings, *[("GET", path, {}) for path in paths], base="http://search.example.org")
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 401, 401, 401, 401]


def test_bodies_are_counted_while_they_come():
    def chunks():
        async def stream():
            for _ in range(100):
                yield b"x" * 100

        return stream()

    few = {"body_bytes": 2048}
    whole, streamed, small = asked(
        {},
        ("POST", "/", {"content": b"x" * 4096}),
        ("POST", "/", {"content": chunks()}),
        ("POST", "/", {"content": b"x" * 2000}),
        limits=few,
    )
    assert (whole.status_code, streamed.status_code, small.status_code) == (413, 413, 200)


def test_a_length_that_is_no_number_of_bytes_is_too_large():
    (answer,) = asked({}, ("POST", "/", {"content": b"x", "headers": {"content-length": "9" * 5000}}))
    assert answer.status_code == 413


def test_a_slow_request_ends_and_too_many_at_once_are_told_to_come_again():
    (slow,) = asked({}, ("GET", "/?5", {}), limits={"seconds": 0.2})
    assert slow.status_code == 408
    answers = asked({}, *[("GET", "/?0.3", {})] * 20, limits={"requests": 8})
    assert sorted({answer.status_code for answer in answers}) == [200, 429]
    assert sum(answer.status_code == 200 for answer in answers) == 8
    assert {answer.headers["retry-after"] for answer in answers if answer.status_code == 429} == {"1"}
