from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.command import run_command
from jobs.search import COMMAND
from pipeline.spec import EmbeddingSpec
from pipeline.table import VectorTable


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Twenty rows, of which 0, 7 and 14 are equal, and 3 and 4."""
    uri = str(tmp_path_factory.mktemp("lake") / "docs")
    vectors = np.random.default_rng(0).standard_normal((20, 32))
    vectors[[7, 14]] = vectors[0]
    vectors[4] = vectors[3]
    table = VectorTable.create(uri, spec=EmbeddingSpec(model="x"), dim=32)
    table.add([f"d{row:02}" for row in range(20)], vectors, texts=[f"this is text {row}" for row in range(20)])
    return uri


def search(*arguments):
    return run_command(COMMAND, [str(argument) for argument in arguments])


def test_pairs_are_shown_with_the_beginnings_of_their_texts(lake, capsys):
    assert search(lake, "--duplicates", "0.98", "-k", "2") == 0
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    assert lines[:3] == [["1.000"], ["d00", "this", "is", "text", "0"], ["d07", "this", "is", "text", "7"]]
    assert "d04" not in shown
    assert "4 pairs among 20 rows; all were compared with each other" in shown


def test_groups_say_which_row_is_kept(lake, capsys):
    assert search(lake, "--duplicates", "0.98", "--groups") == 0
    shown = capsys.readouterr().out
    assert "kept   d00  this is text 0\n1.000  d07  this is text 7\n1.000  d14  this is text 14\n2 rows" in shown
    assert "2 groups of 5 rows, 3 of them not kept, among 20 rows" in shown


def test_json_and_files_hold_all(lake, capsys, tmp_path):
    assert search(lake, "--duplicates", "0.98", "-k", "1", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["rows"], result["exact"], len(result["pairs"])) == (20, True, 4)
    assert result["pairs"][0] == {"a": "d00", "b": "d07", "_score": 1.0}
    target = tmp_path / "found.parquet"
    assert search(lake, "--duplicates", "0.98", "--groups", "--output", target) == 0
    assert pq.read_table(target).column("id").to_pylist() == ["d00", "d07", "d14", "d03", "d04"]


@pytest.mark.parametrize(
    "other",
    [
        ["words"],
        ["--like", "d00"],
        ["--at", "1"],
        ["--min-score", "0"],
        ["--group-by", "id"],
        ["--by-document"],
        ["--mode", "text"],
        ["--columns", "id"],
        ["--offset", "3"],
        ["--diversity", "0.5"],
    ],
)
def test_other_searches_do_not_go_with_it(lake, capsys, other):
    assert search(lake, *other, "--duplicates", "0.98") == 2
    assert (
        f"compares the rows of the table with each other: leave out {'query' if other == ['words'] else other[0]}"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--duplicates", "0.98", "-k", "-1"], "k=-1: 1 or more"),
        (["--groups", "--like", "d00"], "--groups are those of near-duplicates"),
        (["--duplicates", "0.98", "--where-sql", "id = 'a' nonsense"], "sql parser error"),
        (["--duplicates", "0.98", "--where-sql", ""], "where_sql='': a condition in SQL"),
    ],
)
def test_what_cannot_be_compared_is_one_line(lake, capsys, arguments, message):
    assert search(lake, *arguments) in {1, 2}
    written = capsys.readouterr().err
    assert message in written
    assert written.count("\n") == 1
