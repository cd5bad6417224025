"""The service as an application of Ray Serve: its configuration, and ``moee serve --ray`` with a Serve of its own."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx2
import pytest
import yaml
from pydantic import BaseModel
from ray.serve.schema import ServeDeploySchema

from pipeline.errors import UsageError
from pipeline.service.ray_app import RaySettings, build
from pipeline.tokens import new_token, token_hash

EXAMPLE = Path(__file__).parents[2] / "examples" / "serve.yaml"
TOKEN = new_token()
TEXTS = [f"{what} number {number}" for number in range(10) for what in ("rocket orbit", "motor engine", "bread oven")]


def unknown(given, schema):
    """Keys that Serve would pass over in silence."""
    for name, value in given.items():
        kept = getattr(schema, name, None)
        if name not in type(schema).model_fields:
            yield name
        elif isinstance(kept, BaseModel):
            yield from unknown(value, kept)
        elif isinstance(kept, list):
            for each, part in zip(value, kept, strict=True):
                if isinstance(part, BaseModel):
                    yield from unknown(each, part)


def test_the_example_of_a_configuration_is_one_that_serve_understands():
    content = yaml.safe_load(EXAMPLE.read_text())
    schema = ServeDeploySchema.model_validate(content)
    assert list(unknown(content, schema)) == []
    assert list(unknown({**content, "proxy": 1, "http_options": {"prot": 1}}, schema)) == ["prot", "proxy"]
    (application,) = schema.applications
    module, _, name = application.import_path.partition(":")
    assert (module, name) == (build.__module__, build.__name__)
    settings = RaySettings(**application.args)
    assert settings.token_hash == "0" * 64  # no secret, and nobody's
    assert settings.replicas == 2


def test_settings_are_built_into_an_application_that_leaves_refusals_to_the_guard():
    settings = RaySettings(tables=("t",), token_hash="0" * 64, replicas=3, replica_cpus=0.5, limits={"requests": 8})
    deployment = build(settings)._bound_deployment
    assert deployment.num_replicas == 3
    assert deployment.ray_actor_options["num_cpus"] == 0.5
    assert deployment.max_ongoing_requests > settings.limits.requests


@pytest.mark.parametrize(
    ("fields", "told"),
    [({}, "needs a token"), ({"token_hash": "0" * 64, "replica": 2}, "replica"), ({"replicas": 0}, "replicas")],
)
def test_settings_that_cannot_be_meant_are_refused(fields, told):
    with pytest.raises(UsageError, match=told):
        RaySettings(tables=("t",), **fields)


@pytest.fixture
def served(make_table, tmp_path):
    """``moee serve --ray`` on a table, with a token: the process, its address, the table."""
    place = str(tmp_path / "lake" / "docs")
    table = make_table(place)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": str(EXAMPLE.parents[1]),
        "MOEE_SERVE_TOKEN": TOKEN,
    }
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "jobs.serve", "lake/docs", "--ray", "--port", str(port), "--replica-cpus", "0.5"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process, f"http://127.0.0.1:{port}", table
    if process.poll() is None:
        process.terminate()  # a killed one would leave Ray's processes
        process.wait(60)


def until_ready(process, address):
    deadline = time.monotonic() + 200
    while True:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        try:
            if httpx2.get(f"{address}/readyz", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.2)


async def by_many(address, clients, requests):
    """The statuses of so many requests by so many clients at once, and whether each was answered as if alone."""
    statuses = Counter()
    numbers = iter(range(requests))
    headers = {"authorization": f"Bearer {TOKEN}"}
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=address, headers=headers, timeout=60, limits=limits) as http:

        async def client():
            for number in numbers:
                what = TEXTS[number % len(TEXTS)]
                answer = await http.post("/search", json={"query": what, "k": 1})
                statuses[answer.status_code] += 1
                assert answer.status_code == 429 or answer.json()["hits"][0]["text"] == what

        await asyncio.gather(*(client() for _ in range(clients)))
    return statuses


def batches(http):
    text = http.get("/metrics").text
    return [float(re.search(rf"moee_query_batch_size_{name} ([\d.]+)", text)[1]) for name in ("sum", "count")]


@pytest.mark.cluster
@pytest.mark.slow
def test_a_service_on_a_cluster_answers_refuses_follows_its_table_and_ends_well(served, make_table):
    process, address, table = served
    place = str(table.location)
    until_ready(process, address)
    with httpx2.Client(base_url=address, headers={"authorization": f"Bearer {TOKEN}"}, timeout=60) as client:

        def searched():
            answer = client.post("/search", json={"query": "oven", "k": 3})
            assert answer.status_code == 200, answer.text
            return [hit["text"] for hit in answer.json()["hits"]]

        assert searched() == table.search("oven", 3).column("text").to_pylist()
        assert client.get("/tables", headers={"authorization": f"Bearer {TOKEN[:-1]}"}).status_code == 401
        assert client.get("/tables", headers={"host": "evil.example"}).status_code == 421
        assert client.get("/tables", headers={"origin": "http://evil.example"}).status_code == 403
        assert client.post("/search", content=b"x" * (2 << 20)).status_code == 413
        assert client.get("/-/routes").json() == {"/": "moee"}

        statuses = asyncio.run(by_many(address, 50, 1000))
        assert set(statuses) <= {200, 429}
        assert statuses[200] > 500
        encoded, count = batches(client)
        assert encoded / count > 3  # queries of different requests were encoded together

        shutil.rmtree(f"{place}.lance")
        shutil.rmtree(f"{place}.calibration.lance")
        make_table(place, ["an oven of another table"])
        assert searched() == ["an oven of another table"]

    process.send_signal(signal.SIGTERM)
    out, log = process.communicate(timeout=100)
    assert process.returncode == 0
    assert out == f"{address} serves lake/docs (Ctrl-C ends it)\n"
    assert [line for line in log.splitlines() if not line.startswith("starting Ray Serve: ")] == ["stopping"]
    assert token_hash(TOKEN) not in out + log
