from __future__ import annotations

import asyncio

import httpx2
import pyarrow as pa
import pytest

from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.table import VectorTable

TEXTS = [f"{what} number {number}" for number in range(10) for what in ("rocket orbit", "motor engine", "bread oven")]
THEMES = ["space", "cars", "food"] * 10


def pytest_addoption(parser):
    parser.addoption("--load-minutes", type=float, default=1.0, help="of the test under load (1)")


@pytest.fixture(scope="session")
def make_table(encoder):
    """A table of 30 documents in three themes, with the encoder's own vectors."""

    def make(uri, texts=TEXTS):
        table = VectorTable.create(
            uri,
            spec=encoder.spec,
            meaning=encoder.meaning,
            calibration=encoder.calibration,
            halves=encoder.halves,
            keep=pa.schema([("theme", pa.string()), ("n", pa.int64())]),
        )
        names = [f"d/{number}" for number in range(len(texts))]
        metadata = pa.table({"theme": THEMES[: len(texts)], "n": pa.array(range(len(texts)), pa.int64())})
        table.add(names, encoder.encode(texts), texts=texts, metadata=metadata)
        return table

    return make


@pytest.fixture(scope="session")
def table(make_table, tmp_path_factory):
    table = make_table(str(tmp_path_factory.mktemp("lake") / "docs"))
    table.index()
    return table


@pytest.fixture(scope="session")
def ask():
    """Ask an application of these settings in this process: ``ask(settings, "GET", "/tables")`` gives the answer."""

    def ask(settings, method, path, *, app=None, headers=None, **content):
        async def answer():
            made = app or create_app(ServiceSettings(**settings))
            transport = httpx2.ASGITransport(app=made, raise_app_exceptions=False)
            async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
                return await client.request(method, path, headers=headers, **content)

        return asyncio.run(answer())

    return ask


@pytest.fixture(scope="session")
def served(table, ask):
    """Ask a service of the table that no test changes."""
    app = create_app(ServiceSettings(tables=(str(table.location),)))
    return lambda method, path, **content: ask(None, method, path, app=app, **content)
