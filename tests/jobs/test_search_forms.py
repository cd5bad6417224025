"""What ``moee search`` reads and writes beside one query in words: files of queries, formats, facets, the prompt."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.cluster

QUERY = "orbit rocket moon satellite"


def test_a_file_of_queries_gives_the_hits_of_each(moee, news, tmp_path):
    lines = tmp_path / "queries.txt"
    lines.write_text(f"{QUERY}\n\nengine motor\n")
    answers = moee("search", news.table, "--queries", lines, "-k", 3, "--json").json["queries"]
    assert [answer["query"] for answer in answers] == [QUERY, "engine motor"]
    assert answers[0]["hits"] == moee("search", news.table, QUERY, "-k", 3, "--json").json["hits"]
    shown = moee("search", news.table, "--queries", lines, "-k", 3).out.splitlines()
    assert len(shown) == 2 * (1 + 3 * 2)
    assert shown[0] == QUERY


def test_each_query_of_json_lines_may_have_its_alpha(moee, news, tmp_path):
    lines = tmp_path / "queries.jsonl"
    lines.write_text("\n".join(json.dumps({"query": QUERY, **more}) for more in ({}, {"alpha": 4}, {"alpha": 0})))
    answers = moee("search", news.table, "--queries", lines, "-k", 3, "--alpha", 0, "--json").json["queries"]
    assert answers[0]["hits"] == answers[2]["hits"] != answers[1]["hits"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no query"),
        ('{"query": "a"}\n{"text": "b"}', 'line 2: write {"query"'),
        ('{"query": "a", "k": 3}', "no field 'k'"),
        ('{"query": "a"}\n{', "line 2: no JSON"),
        ('{"query": "a", "alpha": "much"}', "alpha='much'"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_a_line_that_is_no_query_is_named(moee, news, tmp_path, content, message):
    file = tmp_path / "q"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = moee("search", news.table, "--queries", file)
    assert outcome.status == 2
    assert message in outcome.error


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_hits_as_files(moee, news, tmp_path, form):
    hits = moee("search", news.table, QUERY, "-k", 4, "--json").json["hits"]
    file = tmp_path / f"hits.{form}"
    outcome = moee("search", news.table, QUERY, "-k", 4, "--output", file)
    assert (outcome.status, outcome.out) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    if form == "parquet":
        rows = pq.read_table(file).to_pylist()
    elif form == "jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert rows == hits
    else:
        rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert [row["id"] for row in rows] == [hit["id"] for hit in hits]
    assert [row["text"] for row in rows] == [hit["text"] for hit in hits]


def test_a_file_that_cannot_be_written_or_has_no_form(moee, news, tmp_path):
    assert "cannot be written" in moee("search", news.table, QUERY, "--output", tmp_path / "no" / "x.csv").error
    assert "say --format" in moee("search", news.table, QUERY, "--output", tmp_path / "x.txt").error
    assert "goes to stdout" in moee("search", news.table, QUERY, "--format", "json", "--output", "x.csv").error
    assert list(tmp_path.iterdir()) == []


def test_facets_with_hits_and_alone(moee, news):
    outcome = moee("search", news.table, "--facets", "theme", "--where", "theme!=motors", "--json")
    assert sum(each["count"] for each in outcome.json["facets"]["theme"]) == 60
    lines = moee("search", news.table, QUERY, "-k", 1, "--facets", "theme").out.splitlines()
    assert lines[2] == "theme"
    assert len(lines) == 2 + 1 + 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a query, --queries FILE, --like ID, --facets"),
        (["a query", "--like", "d-1"], "give one of QUERY, --queries FILE and --like ID"),
        (["a", "-k", "1e9"], "invalid int value"),
        (["a", "-k", "1000000000"], "at most 10,000 hits"),
        (["a", "--where", "theme>="], None),
        (["a", "--where", "row>=x"], "whole numbers"),
        (["a", "--where", "'; DROP TABLE t"], "write COLUMN=VALUE"),
        (["a", "--by-document", "--group-by", "theme"], "give one of them"),
        (["a", "--at", "yesterday"], "no tag 'yesterday'"),
        (["a" * 200_000], "the query has 200,000 characters"),
    ],
)
def test_what_cannot_be_asked_is_one_line(moee, news, arguments, message):
    outcome = moee("search", news.table, *arguments)
    if message is None:
        assert outcome.status == 0
        return
    assert outcome.status in {1, 2}
    assert message in outcome.error


def test_at_a_terminal_it_asks_for_queries_and_loads_the_model_once(news):
    """Through a real pseudo-terminal; what is wrong with a line is said, and the next one is asked for."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobs.search", news.table]
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True, env={**os.environ, "TERM": "dumb"}
    )
    os.close(theirs)
    lines = [
        ":k 2",
        QUERY,
        ":more",
        ":mode text",
        "moon",
        ":mode vector",
        ":where theme=nothing",
        "moon",
        ":nonsense",
        ":k many",
    ]
    shown = ""
    try:
        for line in [*lines, ":settings", ":quit"]:
            shown += read_until(ours, b"> ")
            os.write(ours, line.encode() + b"\n")
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        os.close(ours)
    assert "90 rows (:help)" in shown
    assert shown.count("cos_h") == 4  # two pages of two
    assert "has no text index yet" in shown
    assert "no document matches" in shown
    assert ":nonsense is no command" in shown
    assert ":k many: a number" in shown
    assert "theme=nothing" in shown


def read_until(terminal, mark, seconds=60):
    found, end = b"", time.monotonic() + seconds
    while not found.endswith(mark):
        assert time.monotonic() < end, found
        found += os.read(terminal, 1 << 16)
    return found.decode()
