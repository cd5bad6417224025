"""``moee evaluate``: what is measured on documents, and on the halves that a table stores."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline import EmbeddingSpec
from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import combine
from pipeline.table import VectorTable

H, R, N = 12, 8, 200


def make(folder, how):
    import pyarrow as pa

    random, labels = np.random.default_rng(0), np.arange(N) % 4
    centres = random.standard_normal((4, H))
    halves = Halves(
        (centres[labels] + random.standard_normal((N, H))).astype(np.float32),
        random.standard_normal((N, R)).astype(np.float32),
    )
    alpha = 2.0 if how == "sum" else None
    spec = EmbeddingSpec(combine=how, alpha=alpha)
    keep = pa.schema([("label", pa.string())])
    table = VectorTable.create(folder, spec=spec, meaning={"made": "elsewhere"}, halves=(H, R), keep=keep)
    metadata = pa.table({"label": [f"l{label}" if label else None for label in labels]})
    table.add([f"d{row}" for row in range(N)], combine(halves, how, alpha), metadata=metadata, texts=["x"] * N)
    return folder


def test_ways_are_compared_with_the_tables_own(moee, tmp_path):
    outcome = moee("evaluate", "--table", make(str(tmp_path / "t"), "sum"), "--truth", "label", "--json")
    assert outcome.status == 0, outcome.err
    found = outcome.json
    assert (found["used"], found["is_better"]) == ("sum 2", True)
    assert found["best"] in {"hs", "sum 0.05", "sum 0.1"}
    assert (found["queries"], found["documents"]) == (150, 150)  # a quarter has no label
    assert {way["name"] for way in found["ways"]} >= {"hs", "rw", "sum 1", "sum 2"}
    assert "concat" not in {way["name"] for way in found["ways"]}  # lengths of halves made elsewhere are not known
    people = moee("evaluate", "--table", str(tmp_path / "t"), "--truth", "label", "--picture", tmp_path / "a.png")
    assert people.status == 0, people.err
    assert "search with --alpha 0" in people.out
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([], "--truth COLUMN"),
        (["--truth", "nothing"], "no column 'nothing'"),
        (["--truth", "label", "--limit", "8"], "more than 10"),
    ],
)
def test_what_cannot_be_measured_is_said(moee, tmp_path, more, words):
    outcome = moee("evaluate", "--table", make(str(tmp_path / "t"), "sum"), *more)
    assert outcome.status in {1, 2}
    assert words in outcome.err
    assert outcome.err.count("\n") <= 2


def test_one_half_alone_compares_with_nothing(moee, tmp_path):
    outcome = moee("evaluate", "--table", make(str(tmp_path / "t"), "hs"), "--truth", "label")
    assert (outcome.status, "one half only" in outcome.err) == (2, True)


def test_what_is_not_among_the_documents_is_said(moee, tmp_path, monkeypatch):
    """Of texts without a model: the ways to make vectors of them are none of this test."""
    monkeypatch.setattr("jobs.evaluate._ways", lambda *_: iter(()))
    rows = [{"text": f"w{row} and some", "label": "ab"[row % 2], "split": "ab"[row % 3 == 0]} for row in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join([*map(json.dumps, rows), "rubbish", '{"text": " "}']))
    (tmp_path / "picture.png").touch()
    outcome = moee("evaluate", tmp_path, "--label", "label", "--where", "split=a", "--no-baselines")
    assert outcome.status == 0, outcome.err
    assert "not read: 1 file (.png)" in outcome.err
    assert "2 rejects (1 malformed row, 1 empty)" in outcome.err
    assert "40 documents, 2 labels" in outcome.err
