"""``moee topics show`` and ``map`` as people call them."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

from jobs.cli import main
from pipeline.topics import load_topics


@pytest.fixture
def moee(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        status = main([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return status, streams.out, streams.err

    return call


def test_a_map_is_written_beside_its_picture(moee, dated, drawn, tmp_path):
    status, out, _ = moee("topics", "map", dated.uri)
    assert (status, out.splitlines()[0].split(",")[0]) == (0, "docs.topics.html: 415 of 415 documents")
    assert (tmp_path / "docs.topics.html").stat().st_size < 200_000
    assert (tmp_path / "docs.topics.png").stat().st_size > 10_000
    status, out, _ = moee("topics", "map", dated.uri, "--output", "m.html", "--no-png", "--points", 100, "--json")
    figures = json.loads(out)
    assert (status, figures["page"], figures["picture"], figures["documents"]) == (0, "m.html", None, 415)
    assert figures["points"] <= 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("map", "--output", "nowhere/m.html"), "nowhere/m.html: name a file in a directory that is there"),
        (("map", "--png", "m.txt", "--points", 50), "m.txt"),
        (("map", "--points", 0), "a map shows 1 to 500,000"),
        (("map", "--seed", -1), "seed=-1: use 0 or more"),
        (("map", "--output", "m.png"), "m.png: page and picture need different names"),
        (("show", "--limit", -1), "--limit -1: use 0 or more"),
        (("show", "3", "--mad", 0), "--mad is about all topics"),
        (("show", "--over", "size"), "holds double"),
        (("show", "--by", "none"), "no column 'none'"),
        (("show", "--mad", "-1"), "--mad -1.0: use 0 or more"),
        (("show", "--over", ""), "--over: name a column of the table"),
        (("show", "--by", ""), "--by: name a column of the table"),
        (("show", "--tree", "--mad", "2"), "neither --tree nor --history"),
        (("show", "3", "--tree"), "--tree is about all topics"),
        (("fit", "--labels", "llm"), "name it with --llm-model"),
        (("fit", "--llm-model", "m"), "go with --labels llm"),
        (("fit", "--labels", "llm", "--llm-model", "m", "--llm-url", "ftp://x"), "must be like http"),
    ],
)
def test_wrong_calls_are_told_apart(moee, dated, arguments, message):
    action, *rest = arguments
    status, _, err = moee("topics", action, dated.uri, *rest)
    assert status == 2
    assert message in err


def test_topics_over_time(moee, dated):
    status, out, _ = moee("topics", "show", dated.uri, "--over", "time", "--bins", 12)
    assert status == 0
    assert out.startswith("415 of 415 documents have a time in time: 9 intervals from 1991 to 1999\n")
    assert "█        " in out
    rows = json.loads(moee("topics", "show", dated.uri, "--over", "year", "--json")[1])["rows"]
    assert len(rows) == 9 * 6


def test_topics_by_metadata(moee, dated):
    out = moee("topics", "show", dated.uri, "--by", "subject", "--limit", 2)[1]
    assert out.splitlines()[1].split() == ["110", "space"]
    assert "faith" not in out.replace("faith,", "")
    assert json.loads(moee("topics", "show", dated.uri, "--by", "subject", "--json")[1])["column"] == "subject"


def test_topics_as_a_tree_and_their_history(moee, dated):
    out = moee("topics", "show", dated.uri, "--tree")[1]
    assert "415 in 5" in out or "in 5" in out.splitlines()[0]
    assert all(f"── {topic} " in out for topic in range(5))
    out = moee("topics", "show", dated.uri, "--history")[1]
    assert out.startswith("version 1")
    assert "born" in out
    versions = json.loads(moee("topics", "show", dated.uri, "--history", "--json")[1])["versions"]
    assert [event["event"] for event in versions[0]["events"]] == ["born"] * 5


def test_another_threshold(moee, dated):
    strict = json.loads(moee("topics", "show", dated.uri, "--mad", "0.5", "--json")[1])
    loose = json.loads(moee("topics", "show", dated.uri, "--mad", "9", "--json")[1])
    assert strict["outliers"] > loose["outliers"]
    assert sum(topic["size"] for topic in strict["topics"]) + strict["outliers"] == 415
    assert "at median - 0.5 x MAD" in moee("topics", "show", dated.uri, "--mad", "0.5")[1]


@pytest.fixture
def chunked(dated, monkeypatch):
    """The same topics, where the largest by rows is the smallest by documents."""
    topics = load_topics(dated.uri)
    sizes = {topic: index + 1 for index, topic in enumerate(topics.topics()["topic"].to_pylist())}
    documents = pa.table({"topic": [topic for topic, size in sizes.items() for _ in range(size)]})
    documents = documents.append_column("chunks", pa.array([1] * documents.num_rows, pa.int64()))
    monkeypatch.setattr(type(topics), "is_chunked", True)
    monkeypatch.setattr(type(topics), "document_topics", lambda _self, _mad=None: documents)
    return sizes


def test_of_chunks_each_topic_has_its_own_line(moee, dated, chunked):
    _, out, _ = moee("topics", "show", dated.uri, "--over", "year", "--json")
    rows = json.loads(out)["rows"]
    best = {}
    for row in rows:
        best[row["topic"]] = max(best.get(row["topic"], (0, 0)), (row["share"], -row["start"]))
    _, out, _ = moee("topics", "show", dated.uri, "--over", "year")
    for topic, size in chunked.items():
        [line] = [line.split() for line in out.splitlines()[2:] if line.split()[0] == str(topic)]
        share, start = best[topic]
        assert line[1] == str(size)
        assert f"{100 * share:.1f} % in {-start}" in " ".join(line)


def test_of_chunks_documents_are_compared_with_documents(moee, dated, chunked):
    _, out, _ = moee("topics", "show", dated.uri, "--mad", 3, "--json")
    result = json.loads(out)
    assert {row["topic"]: row["size"] for row in result["topics"]} == chunked
    assert result["documents"] == sum(chunked.values())
