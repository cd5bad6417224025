from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

# Workers of the local engine have the path of the process that starts them: what tests give them must be importable.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "bench")]


@dataclass(frozen=True)
class Mixed:
    """A folder with every format and every kind of trouble, embedded once; tests copy the lake before they change it.

    `accepted`: the rows that must be in the table, by id; `rejected`: (file, row, reason) of all others.
    """

    corpus: Path
    table: str
    report: Any
    accepted: dict[str, dict[str, str]]
    rejected: set[tuple[str, int, str]]


@pytest.fixture(scope="session")
def stub():
    import stub

    return stub


@pytest.fixture(scope="session")
def stub_model(stub, tmp_path_factory):
    """A model directory for stubs: some words of the tests' documents, which are split at white space."""
    return stub.checkpoint(tmp_path_factory.mktemp("stub") / "model", [f"w{number}" for number in range(40)])


@pytest.fixture
def local():
    """A local engine that starts quickly, since nothing heavy is imported beforehand; it stops with the test."""
    from pipeline.flow.engines.local_engine import LocalEngine

    with LocalEngine() as engine:
        engine.replica_modules = ()
        yield engine


@pytest.fixture(params=["local", pytest.param("ray", marks=[pytest.mark.cluster, pytest.mark.slow])])
def embed_on(request):
    """`pipeline.embed` on either engine; under Ray in ``make test-slow``, where it takes twice as long."""
    from pipeline import embed

    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    return partial(embed, engine=request.param)


@pytest.fixture(scope="session")
def mixed(ray_cluster, lab, tmp_path_factory):
    from pipeline import embed

    folder = tmp_path_factory.mktemp("mixed")
    corpus = folder / "corpus"
    accepted, rejected = make_mixed(lab, corpus)
    report = embed(str(corpus), str(folder / "lake" / "docs"), lab.SPEC, keep=("theme",))
    return Mixed(corpus, str(folder / "lake" / "docs"), report, accepted, rejected)


def make_mixed(lab, corpus):
    """Write the folder; the rows to be accepted, and what must become of the others."""
    documents, write = lab.documents, lab.write
    parquet = [*documents(6, "p"), {"id": "p-null", "text": None, "theme": None}, *documents(2, "p", 6)]
    lines = [
        *documents(4, "l"),
        b'{"id": "l-broken", "text": ',
        {"id": "l-empty", "text": " \n\t", "theme": "none"},
        {"text": "a document without an id", "theme": "none"},
        b'{"id": "l-latin", "text": "caf\xe9"}',
        *documents(2, "l", 4),
    ]
    quoted = {"id": "c-quoted", "text": 'two lines,\nwith "quotes"', "theme": "motors"}
    twin = {"id": "p-0", "text": "the same id as a row of the Parquet file", "theme": "space"}
    files = {
        "corpus.parquet": parquet,
        "lines.jsonl": lines,
        "packed.jsonl.gz": documents(7, "g"),
        "deep/packed.jsonl.zst": [*documents(7, "z"), documents(1, "z")[0]],
        "rows.csv": [*documents(3, "c"), quoted],
        "twins.jsonl": [twin, *documents(2, "t")],
        "_hidden.jsonl": documents(2, "h"),
    }
    for name, rows in files.items():
        write(corpus / name, rows)
    (corpus / "a-corrupt.parquet").write_bytes(b"PAR1" + b"\0" * 64 + b"PAR1")
    whole = (corpus / "corpus.parquet").read_bytes()
    (corpus / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    rejected = {
        ("corpus.parquet", 6, "null text"),
        ("lines.jsonl", 4, "malformed row"),
        ("lines.jsonl", 5, "empty"),
        ("lines.jsonl", 6, "missing id"),
        ("lines.jsonl", 7, "not UTF-8"),
        ("packed.jsonl.zst", 7, "duplicate id"),
        ("a-corrupt.parquet", -1, "unreadable"),
        ("cut.parquet", -1, "unreadable"),
    }
    good = [row for rows in files.values() for row in rows if isinstance(row, dict) and (row.get("text") or "").strip()]
    unwanted = {"h-0", "h-1", "p-0"}  # one of the two p-0 is accepted, whichever is committed first
    accepted = {row["id"]: row for row in good if row.get("id") and row["id"] not in unwanted}
    return accepted, rejected
