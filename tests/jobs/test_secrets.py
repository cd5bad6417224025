"""Secrets are planted wherever a user may give one; then everything that was said or written is searched for them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import httpx2
import lance
import pytest

KEY, SECRET = "AKIAPLANTEDKEYNAME00", "planted/secret+of=the-storage"
PLANTED = {
    "RAY_AUTH_TOKEN": "planted0token0of0ray" * 3,
    "MOEE_SERVE_TOKEN": "planted-token-of-the-service-which-is-long-enough",
    "HF_TOKEN": "hf_plantedtokenofthehub",
}
ALL = (KEY, SECRET, *PLANTED.values())


@pytest.fixture
def place():
    """For homes and temporary files; short, since Ray's sockets lie below."""
    folder = Path(tempfile.mkdtemp(prefix="moee-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def environment(lab, place):
    for name in ("home", "tmp"):
        (place / name).mkdir()
    folders = {"TMPDIR": str(place / "tmp"), "RAY_TMPDIR": str(place / "tmp")}
    clean = {name: value for name, value in lab.environment(place / "home").items() if not name.startswith("AWS_")}
    return {**clean, **folders, **PLANTED}


@pytest.fixture
def vault(lab, endpoint):
    """A bucket with documents, and the options that open it."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket="vault")
    lines = [*lab.documents(6), {"id": "empty", "text": " ", "theme": "none"}]
    client.put_object(Bucket="vault", Key="in/a.jsonl", Body="\n".join(map(json.dumps, lines)).encode())
    yield client
    for listed in client.list_objects_v2(Bucket="vault").get("Contents", []):
        client.delete_object(Bucket="vault", Key=listed["Key"])
    client.delete_bucket(Bucket="vault")


def options(endpoint):
    return {"key": KEY, "secret": SECRET, "endpoint_url": endpoint, "region": "us-east-1"}


def command(endpoint, *words):
    given = [part for name, value in options(endpoint).items() for part in ("--storage-option", f"{name}={value}")]
    return [sys.executable, "-m", "jobs.cli", *words, *given]


def moee(environment, endpoint, *words):
    """What a command said; its status."""
    done = subprocess.run(
        command(endpoint, *words), env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    return done.stdout + done.stderr, done.returncode


def assert_nowhere(*told):
    for secret in ALL:
        assert not [text for text in told if secret in text], secret


def written(place):
    """All files that were left behind, as text."""
    return [path.read_bytes().decode("latin-1") for path in place.rglob("*") if path.is_file()]


def stored(client):
    """All objects of the bucket as text, and the rows of all tables in it."""
    names = [listed["Key"] for listed in client.list_objects_v2(Bucket="vault")["Contents"]]
    for name in names:
        yield client.get_object(Bucket="vault", Key=name)["Body"].read().decode("latin-1")
    tables = {name.split(".lance/")[0] for name in names if ".lance/" in name}
    assert {"lake/docs", "lake/docs.runs", "lake/docs.rejects"} <= tables
    given = {"access_key_id": KEY, "secret_access_key": SECRET, "allow_http": "true", "region": "us-east-1"}
    for table in tables:
        uri = f"s3://vault/{table}.lance"
        opened = lance.dataset(uri, storage_options={**given, "endpoint": client.meta.endpoint_url})
        yield str(opened.to_table(columns=[name for name in opened.schema.names if name != "vector"]).to_pylist())
        yield str(opened.config()) + str(opened.schema.metadata)


EMBED = ("embed", "s3://vault/in/", "--table", "s3://vault/lake/docs", "--max-tokens", "24", "--pooling", "last")


@pytest.mark.parametrize("engine", ["local", pytest.param("ray", marks=[pytest.mark.slow, pytest.mark.cluster])])
def test_a_run_leaves_them_nowhere(environment, place, vault, endpoint, engine):
    said, status = moee(environment, endpoint, *EMBED, "--engine", engine, "--debug", "--json")
    assert status == 0, said
    inspected, status = moee(environment, endpoint, "inspect", "s3://vault/lake/docs", "--rejects", "--json", "--debug")
    assert status == 0, inspected
    left = written(place)
    assert engine == "local" or any("gcs_server" in text for text in left), "Ray's session logs are searched"
    assert_nowhere(said, inspected, *left, *stored(vault))


class Refuses(BaseHTTPRequestHandler):
    """As S3 does with a wrong signature: it repeats the key's name, and what was to be signed."""

    def do_GET(self):
        message = "The request signature we calculated does not match the signature you provided."
        told = (
            f"<Message>{message}</Message><AWSAccessKeyId>{KEY}</AWSAccessKeyId><StringToSign>{SECRET}</StringToSign>"
        )
        body = f"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code>{told}</Error>".encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 — as the server calls them

    def log_message(self, *args):
        pass


@pytest.fixture
def refusing():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "words",
    [EMBED, ("doctor", "--table", "s3://vault/lake/docs"), ("inspect", "s3://vault/lake/docs")],
    ids=lambda words: words[0],
)
def test_a_storage_that_refuses_them_does_not_bring_them_back(environment, place, refusing, words):
    said, status = moee(environment, refusing, *words, "--debug")
    assert status == 1
    assert "does not match" in said
    assert_nowhere(said, *written(place))


@pytest.mark.slow
def test_a_service_tells_them_to_nobody(environment, place, vault, endpoint, port):
    said, status = moee(environment, endpoint, *EMBED, "--engine", "local")
    assert status == 0, said
    serve = command(endpoint, "serve", "s3://vault/lake/docs", "--port", str(port), "--log-requests", "--debug")
    with subprocess.Popen(serve, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline().startswith("http://")
            answers = asked(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            out, log = process.communicate(timeout=60)
    assert_nowhere(said, out, log, *answers, *written(place))


def until_up(client):
    ends = time.monotonic() + 60
    while True:
        try:
            return client.get("/healthz")
        except httpx2.ConnectError:
            assert time.monotonic() < ends
            time.sleep(0.2)


def asked(address):
    """What the service answers, to its token, to another one, and for its metrics."""
    right = {"authorization": f"Bearer {PLANTED['MOEE_SERVE_TOKEN']}"}
    with httpx2.Client(base_url=address, timeout=60) as client:
        until_up(client)
        found = client.post("/search", json={"query": "rocket"}, headers=right)
        assert found.status_code == 200, found.text
        refused = client.get("/tables", headers={"authorization": f"Bearer {SECRET}"})
        assert refused.status_code == 401
        others = [client.get(path, headers=right) for path in ("/metrics", "/tables", "/openapi.json", "/documents/no")]
        return [answer.text + str(answer.headers) for answer in (found, refused, *others)]


@pytest.fixture
def port(load):
    return load("jobs/cluster/heads.py").free_ports(1)[0]
