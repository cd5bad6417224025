from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import numpy as np
import pyarrow as pa
import pytest
import uvicorn

from pipeline.service.app import create_app
from pipeline.service.settings import ServiceSettings
from pipeline.table import VectorTable
from pipeline.topics import fit_topics, label_topic, merge_topics
from pipeline.topics.views import draw_map

TEXTS = [f"{what} number {number}" for number in range(10) for what in ("rocket orbit", "motor engine", "bread oven")]
THEMES = ["space", "cars", "food"] * 10
SUBJECTS = {
    "space": "orbit rocket moon shuttle launch satellite nasa planet lunar telescope",
    "cars": "engine car brake tyre gear wheel oil driver road clutch",
    "food": "bread oven flour butter sugar dough yeast kitchen salt recipe",
    "garden": "tulip soil compost seed shovel rose greenhouse bulb hedge mulch",
    "music": "guitar piano melody chord violin drum singer concert choir rhythm",
}
LABEL = "bread <b>&</b> butter, a label by hand that is longer than a column is wide"


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


@pytest.fixture(scope="session")
def topical(encoder, tmp_path_factory):
    """A table of five subjects with metadata of every kind and topics in three versions: fitted, merged, named."""
    of = [subject for subject in SUBJECTS for _ in range(30)]
    rng = np.random.default_rng(0)
    texts = [" ".join(["the", *rng.choice(SUBJECTS[subject].split(), 9)]) for subject in of]
    day = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=5 * row) for row in range(len(of))]
    metadata = pa.table(
        {
            "subject": pa.array(of),
            "year": pa.array([1990 + row // 10 for row in range(len(of))], pa.int32()),
            "seen": pa.array(day, pa.timestamp("us", "UTC")),
            "day": pa.array([each.date() for each in day], pa.date32()),
            "tags": pa.array([["even", "all"] if row % 2 == 0 else ["odd", "all"] for row in range(len(of))]),
            "author": pa.array([f"author {row % 25}" for row in range(len(of))]),
        }
    )
    table = VectorTable.create(
        str(tmp_path_factory.mktemp("lake") / "topical"),
        spec=encoder.spec,
        meaning=encoder.meaning,
        calibration=encoder.calibration,
        halves=encoder.halves,
        keep=metadata.schema,
    )
    ids = [f"{subject}-{row}" for row, subject in enumerate(of)]
    table.add(ids, encoder.encode(texts), texts=texts, metadata=metadata)
    table.index()
    fitted = fit_topics(table, recipe="pca", min_cluster_size=10, encoder=encoder)
    of_subject = dict(zip(of, fitted.topics_of(pa.array(ids)).to_pylist(), strict=True))
    merge_topics(table, [of_subject["garden"], of_subject["music"]])
    draw_map(label_topic(table, of_subject["food"], LABEL))  # keeps its layout
    return table


@pytest.fixture(scope="session")
def browser(load, tmp_path_factory):
    """A page of a headless Chromium that reaches nothing but this machine."""
    module = load("topics/views/browser.py")
    if module.executable() is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")
    browser = module.Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def serve():
    """Serve an application in a thread: ``with serve(app) as address``."""
    return serving


@contextmanager
def serving(app):
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    server.should_exit = True
    thread.join(20)
