"""``moee embed``: figures for programs, a line for people, one clear line for what cannot be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import lancedb
import pytest

pytestmark = pytest.mark.cluster


def test_first_a_table_then_nothing_to_do(moee, ray_cluster, lab, tmp_path):
    source = lab.write(tmp_path / "a.csv", [*lab.documents(5), {"id": "", "text": "no id", "theme": "none"}])
    command = (
        "embed",
        source,
        "--table",
        tmp_path / "lake" / "docs",
        "--max-tokens",
        24,
        "--pooling",
        "last",
        "--keep",
        "theme",
    )
    first = moee(*command, "--json")
    assert first.status == 0
    figures = {name: first.json[name] for name in ("documents", "rejects", "table_rows", "nothing_to_do", "reasons")}
    assert figures == {
        "documents": 5,
        "rejects": 1,
        "table_rows": 5,
        "nothing_to_do": False,
        "reasons": {"missing id": 1},
    }
    assert "5 documents (" in first.err
    again = moee(*command)
    assert again.status == 0
    assert again.out.startswith("nothing new to embed")
    assert again.out.endswith(f"{tmp_path}/lake/docs holds 5 documents and 1 reject (1 missing id)\n")
    assert moee(*command, "--json").json["nothing_to_do"] is True


def test_too_many_rejects_stop_a_run_and_the_next_goes_on(moee, ray_cluster, lab, tmp_path):
    from pipeline.table import TableLocation
    from pipeline.table.companions.lease import Lease

    empty = [{"id": f"e-{number}", "text": " ", "theme": "none"} for number in range(4)]
    source, table = lab.write(tmp_path / "a.jsonl", [*lab.documents(6), *empty]), tmp_path / "lake" / "docs"
    command = ("embed", source, "--table", table, "--max-tokens", 24, "--pooling", "last")
    stopped = moee(*command, "--max-rejects", "30%")
    assert stopped.status == 1
    assert "4 of 10 rows read were rejected, more than --max-rejects 30% allows" in stopped.error
    assert moee("inspect", table, "--json").json["runs"][-1]["status"] == "failed"
    done = moee(*command, "--max-rejects", "4", "--json").json
    assert (done["table_rows"], done["table_rejects"]) == (6, 4)
    assert not lab.old_orphans(table)
    assert moee(*command, "--retry-rejects", "--json").json["nothing_to_do"] is True

    lab.write(tmp_path / "b.jsonl", lab.documents(3, "b"))
    with Lease(TableLocation.parse(table), "other"):
        refused = moee("embed", tmp_path / "b.jsonl", "--table", table)
    assert (refused.status, refused.out) == (1, "")
    assert "is being written by run other" in refused.error


@pytest.mark.parametrize("arguments", [("--max-rejects", "lots"), ("--wait", "-1"), ("--wait", "soon")])
def test_options_that_mean_nothing_are_wrong_usage(moee, tmp_path, arguments):
    assert moee("embed", tmp_path, "--table", tmp_path / "lake" / "docs", *arguments).status == 2


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_that_stores_nothing_of_what_it_reads_ends_with_status_1(moee, monkeypatch, failed):
    from pipeline.flow.report import EmbedReport

    names = "table run documents tokens rejects seconds startup_seconds table_rows table_rejects version files"
    figures = dict.fromkeys([*names.split(), "finished_files", "fingerprint", "model"], 0)
    told = {"table": "lake/docs", "run": "r", "rejects": 1, "passed_over": {".pdf": 2}, "failed": failed}
    report = EmbedReport(**{**figures, **told})
    monkeypatch.setattr("pipeline.flow.embed.embed", lambda *_, **__: report)
    outcome = moee("embed", "in", "--table", "lake/docs")
    assert outcome.out.splitlines()[0] == "not read: 2 files (.pdf)"
    assert outcome.status == failed
    assert ("nothing of what was read could be stored in lake/docs" in outcome.err) is failed
    assert moee("embed", "in", "--table", "lake/docs", "--json").json["failed"] is failed


def test_a_plan_says_what_would_be_done_and_does_nothing(moee, news, lab, tmp_path):
    lab.write(tmp_path / "in" / "a.parquet", lab.documents(7))
    (tmp_path / "in" / "part-00000").write_text("not read")
    outcome = moee("embed", tmp_path / "in", "--table", tmp_path / "lake" / "docs", "--plan")
    assert outcome.status == 0
    assert "1 file (0.0 MB), 0 of them finished: 7 rows left in 1 work unit;" in outcome.out
    assert "\nnot read: 1 file (no suffix)\n" in outcome.out
    told = dict(line.split(maxsplit=1) for line in outcome.out.splitlines()[2:])
    assert list(told) == ["tokens", "start-up", "calibration", "embedding", "in", "storage"]
    assert "in 7 rows (from 7 rows)" in told["tokens"]
    priced = moee(
        "embed",
        tmp_path / "in",
        "--table",
        tmp_path / "lake" / "docs",
        "--plan",
        "--rate",
        1000,
        "--price",
        3,
        "--json",
    ).json["estimate"]
    assert priced["tokens_per_second"] == 1000
    assert priced["cost"] == pytest.approx(3 * priced["seconds"] / 3600)
    run = moee("embed", tmp_path / "in", "--table", tmp_path / "lake" / "docs", "--engine", "local", "--json").json
    assert run["expected"]["seconds"] == pytest.approx(priced["seconds"])
    (record,) = moee("inspect", tmp_path / "lake" / "docs", "--runs", "--json").json["runs"]
    assert json.loads(record["estimate"])["rows"] == 7
    assert record["cost"] == pytest.approx(3 * record["seconds"] / 3600, rel=0.2)
    lab.write(tmp_path / "in" / "b.parquet", lab.documents(3, "new"))
    again = moee("embed", tmp_path / "in", "--table", tmp_path / "lake" / "docs", "--engine", "local", "--json").json
    assert again["expected"] is None  # a plan is for the run that follows it
    plan = moee("embed", news.source, "--table", news.table, "--plan", "--json").json
    assert (plan["files"], plan["finished_files"], plan["units"], plan["keep"]) == (1, 1, 0, ["theme"])
    assert plan["estimate"] is None
    assert "not a number above 0" in moee("embed", "in", "--table", "t/t", "--plan", "--rate", "0").error


def test_another_pooling_is_refused_by_name(moee, news):
    outcome = moee("embed", news.source, "--table", news.table, "--pooling", "mean", "--json")
    assert (outcome.status, outcome.out) == (1, "")
    assert "pooling: the table has 'last', this is 'mean'" in outcome.error


def test_other_columns_than_the_tables_are_wrong_usage(moee, news):
    outcome = moee("embed", news.source, "--table", news.table, "--text", "theme")
    assert outcome.status == 2
    assert "made with text column 'text', which is fixed" in outcome.error


@pytest.mark.parametrize(
    ("source", "table", "options", "what"),
    [
        ("nowhere", "lake/docs", (), "nowhere: no such file or directory"),
        ("empty", "lake/docs", (), "no readable file in this directory"),
        ("good.jsonl", "lake/docs", ("--text", "body"), "no column 'body' in the input; there are: id, text, theme"),
        ("good.jsonl", "good.jsonl/docs", (), "good.jsonl/docs"),
        ("corrupt", "lake/docs", (), "x.parquet"),
    ],
)
def test_bad_input_is_status_1_and_one_line(moee, lab, tmp_path, monkeypatch, source, table, options, what):
    monkeypatch.chdir(tmp_path)
    lab.write(tmp_path / "good.jsonl", lab.documents(2))
    for name in ("empty", "corrupt"):
        (tmp_path / name).mkdir()
    (tmp_path / "corrupt" / "x.parquet").write_bytes(b"PAR1 broken")
    outcome = moee("embed", source, "--table", table, *options)
    assert (outcome.status, outcome.out) == (1, "")
    assert what in outcome.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corrupt", "empty", "good.jsonl"]


def test_in_a_process_of_its_own_on_a_machine_that_has_nothing_yet(lab, tmp_path):
    """The console script, its own Ray cluster, an empty home and no cache; then plain LanceDB reads the table."""
    lab.write(tmp_path / "docs.jsonl", lab.documents(12))
    script = shutil.which("moee", path=str(Path(sys.executable).parent))
    command = [
        script or "moee",
        "embed",
        "docs.jsonl",
        "--table",
        "lake/docs",
        "--max-tokens",
        "24",
        "--pooling",
        "last",
        "--json",
    ]
    environment = lab.environment(tmp_path / "home", MOEE_CACHE=str(tmp_path / "home" / "cache"))
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["documents"] == 12
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "12 documents (" in done.stderr
    code = f"import lancedb; print(lancedb.connect({str(tmp_path / 'lake')!r}).open_table('docs').count_rows())"
    assert lancedb.connect(tmp_path / "lake").open_table("docs").count_rows() == 12
    alone = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert alone.stdout == "12\n"
