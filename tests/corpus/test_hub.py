"""hf:// against a small server on this machine that answers as the hub does."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.corpus import list_sources
from pipeline.errors import SourceError
from pipeline.storage import _fsspec_options

REPOSITORY = "/api/datasets/org/name"


def parquet(prefix):
    out = io.BytesIO()
    pq.write_table(pa.table({"id": [f"{prefix}{index}" for index in range(5)], "text": ["a text"] * 5}), out)
    return out.getvalue()


class Hub(BaseHTTPRequestHandler):
    """The four answers that listing and reading take: repository, tree, one file's facts, a range of its bytes."""

    files: dict[str, bytes]
    seen: list[str]
    broken = False

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        url = urlsplit(self.path)
        path, recursive = unquote(url.path), parse_qs(url.query).get("recursive") in (["True"], ["true"])
        self.seen.append(f"{path} {self.headers.get('authorization')}")
        if path.startswith(f"{REPOSITORY}/tree/main"):
            self.tree(path.removeprefix(f"{REPOSITORY}/tree/main").strip("/"), recursive)
        elif path in {REPOSITORY, f"{REPOSITORY}/revision/main"}:
            self.answer({"id": "org/name", "sha": "0" * 40})
        elif path.startswith("/datasets/org/name/resolve/main/"):
            self.file(self.files.get(path.removeprefix("/datasets/org/name/resolve/main/")))
        else:
            self.answer({"error": "Repository not found"}, 401, {"X-Error-Code": "RepoNotFound"})

    def tree(self, folder, recursive):
        prefix = f"{folder}/" if folder else ""
        found = {}
        for name, data in self.files.items():
            rest = name.removeprefix(prefix)
            if name.startswith(prefix) and "/" in rest:
                directory = prefix + rest.split("/")[0]
                found[directory] = {"type": "directory", "path": directory, "oid": "d" * 40, "size": 0}
            if name.startswith(prefix) and (recursive or "/" not in rest):
                oid = hashlib.sha1(data).hexdigest()
                found[name] = {"type": "file", "path": name, "oid": oid, "size": len(data)}
        missing = {"X-Error-Code": "EntryNotFound"}
        self.answer(list(found.values())) if found else self.answer({"error": "no entry"}, 404, missing)

    def file(self, data):
        if data is None or self.broken:
            self.answer({"error": "gone"}, 403 if self.broken else 404, {"X-Error-Code": "EntryNotFound"})
            return
        start, stop = self.headers["range"].removeprefix("bytes=").split("-")
        part = data[int(start) : int(stop) + 1]
        self.answer(part, 206, {"Content-Range": f"bytes {start}-{stop}/{len(data)}"})

    def answer(self, body, status=200, headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**dict(headers), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def serving(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    files = {
        "README.md": b"the card",
        "data/train-0.parquet": parquet("a"),
        "data/train-1.parquet": parquet("b"),
        "data/test.jsonl": b'{"id": "c", "text": "x"}\n',
        ".gitattributes": b"",
    }
    handler = type("ThisHub", (Hub,), {"files": files, "seen": []})
    with serving(handler) as endpoint:
        yield handler, {"hf_endpoint": endpoint, "hf_token": "hf_secret"}
    fsspec.get_filesystem_class("hf").clear_instance_cache()


def test_a_dataset_is_listed_and_read(hub, read):
    handler, options = hub
    files = list_sources(["hf://datasets/org/name"], storage_options=options)
    names = ["data/test.jsonl", "data/train-0.parquet", "data/train-1.parquet"]
    assert [file.uri for file in files] == [f"hf://datasets/org/name/{name}" for name in names]
    result = read("hf://datasets/org/name", storage_options=options)
    expected = ["c", *(f"{shard}{index}" for shard in "ab" for index in range(5))]
    assert sorted(result.documents["id"].to_pylist()) == sorted(expected)
    assert read("hf://datasets/org/name/data/train*.parquet", storage_options=options).documents.num_rows == 10
    assert read("hf://datasets/org/name/README.md", storage_options=options).documents["text"].to_pylist() == [
        "the card"
    ]
    assert {each.split()[-1] for each in handler.seen} == {"hf_secret"}


def test_a_version_is_the_blob_and_changes_with_it_alone(hub):
    handler, options = hub
    before = list_sources(["hf://datasets/org/name"], storage_options=options)
    handler.files["data/train-1.parquet"] = parquet("n")
    after = list_sources(["hf://datasets/org/name"], storage_options=options)
    assert [file.version for file in before[:2]] == [file.version for file in after[:2]]
    assert after[2].version == hashlib.sha1(handler.files["data/train-1.parquet"]).hexdigest() != before[2].version


def test_a_revision_is_part_of_the_name(hub, read):
    _, options = hub
    (file,) = list_sources(["hf://datasets/org/name@main/data/test.jsonl"], storage_options=options)
    assert file.uri == "hf://datasets/org/name@main/data/test.jsonl"
    assert read(file.uri, storage_options=options).documents["id"].to_pylist() == ["c"]


@pytest.mark.parametrize("source", ["hf://datasets/org/name/nothing.parquet", "hf://datasets/org/private/a.parquet"])
def test_what_is_not_there_or_not_shown_is_said_in_one_line(hub, source):
    _, options = hub
    with pytest.raises(SourceError, match="no such file or directory; a private dataset needs HF_TOKEN") as caught:
        list_sources([source], storage_options=options)
    assert "\n" not in str(caught.value)


def test_a_read_that_is_refused_is_no_reject(hub, read):
    handler, options = hub
    handler.broken = True
    with pytest.raises(SourceError, match="reading failed"):
        read("hf://datasets/org/name/data/test.jsonl", storage_options=options, text="text", id="id")


def test_the_hub_is_not_shown_the_tables_credentials():
    given = {"token": "a", "endpoint": "b", "aws_secret_access_key": "c", "hf_token": "d"}
    assert _fsspec_options("hf", given) == {"token": "d"}
