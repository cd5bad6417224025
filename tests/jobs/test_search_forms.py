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
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from jobs.search.formats import hit_writer
from jobs.search.hits import show_facets, show_hits
from jobs.search.queries import Queries, read_queries
from pipeline.errors import UsageError

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
        ('{"query": "a"}\n{"query": " "}', "line 2: the query is empty"),
        ('{"query": "a"}\n\n{"query": "b", "alpha": true}', "line 3: alpha=True"),
        ("a\n" + "b" * 200_000, "line 2: the query has 200,000 characters"),
        ('{"query": ' + "[" * 100_000, "line 1: no JSON"),
    ],
)
def test_a_line_that_is_no_query_is_named(moee, news, tmp_path, content, message):
    file = tmp_path / "q"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    outcome = moee("search", news.table, "--queries", file)
    assert outcome.status == 2
    assert message in outcome.error


def test_lines_end_where_files_end_them_and_a_mark_at_the_beginning_is_none_of_them(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('\ufeff{"query": "one\u2028line\x0c"}\r\n{"query": "b"}'))
    with pytest.raises(UsageError, match="line 1: no JSON"):  # JSON has no raw form feeds
        read_queries("-", None)
    monkeypatch.setattr("sys.stdin", io.StringIO('\ufeff{"query": "one\u2028line"}\r\n{"query": "b"}'))
    assert read_queries("-", 2.0) == Queries(["one\u2028line", "b"], [2.0, 2.0])


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
    assert "goes to stdout" in moee("search", news.table, QUERY, "--json", "--output", tmp_path / "x.csv").error
    assert "goes to stdout" in moee("search", news.table, QUERY, "--json", "--format", "csv").error
    for facets in (["--format", "csv"], ["--output", tmp_path / "x.csv"], ["--queries", tmp_path / "q"]):
        assert "--facets are counts" in moee("search", news.table, "--facets", "theme", *facets).error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file_and_a_pipe_stays_one(tmp_path):
    """A device such as ``/dev/null`` is never replaced by a file."""
    with pytest.raises(UsageError, match="cannot be written: Is a directory"), hit_writer("csv", str(tmp_path)):
        pass
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as threads:
        read = threads.submit(pipe.read_text)
        with hit_writer("csv", str(pipe)) as writer:
            writer.write(pa.table({"id": ["a"]}))
        assert read.result() == "id\na\n"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_values_are_shown_as_they_are_on_lines_of_bounded_length():
    """No emoji for ``:warning:``, no markup, no control characters."""
    written = io.StringIO()
    console = Console(file=written, emoji=False, highlight=False, soft_wrap=True)
    value = "[red]a :warning: \x1b[31m\n" + "b" * 10**6
    show_facets(console, {"[red]c": pa.table({"value": [value, None], "count": [2, 1]})})
    show_hits(console, pa.table({"id": ["d"], "_score": [1.0], "note": [value]}))
    shown = written.getvalue().splitlines()
    assert shown[0] == "[red]c"
    assert shown[1].startswith("        2  [red]a :warning: ")
    assert shown[3].startswith("1.000  d  note=[red]a :warning: ")
    assert len(shown) == 4
    assert max(map(len, shown)) < 200
    assert "\x1b" not in written.getvalue()


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
        (["a", "--like", "d-1", "--mode", "hybrid"], "has no text index yet"),
        (["a", "--where", ":bomb:=1"], "where :bomb:: there is no such column"),
        (["a", "--at", "9" * 5000], "no tag '999"),
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
        ":k 0",
        ":where nosuch=1",
        ":like 'd-1",
        ":alpha 0",
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
    assert "k=0: 1 or more" in shown
    assert "where nosuch: there is no such column" in shown
    assert "No closing quotation" in shown
    assert "alpha    0.0" in shown
    assert "k        2" in shown
    assert "theme=nothing" in shown


def read_until(terminal, mark, seconds=60):
    found, end = b"", time.monotonic() + seconds
    while not found.endswith(mark):
        assert time.monotonic() < end, found
        found += os.read(terminal, 1 << 16)
    return found.decode()
