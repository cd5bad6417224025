"""`moee submit` and `moee jobs` against a real head with a token."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EMBED = ("--max-tokens", 24, "--pooling", "last", "--engine", "local")


def the_error(done):
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return lines[0]


def test_a_command_becomes_a_job_with_its_log_and_its_exit_status(cluster, lab, tmp_path):
    source = lab.write(tmp_path / "docs.jsonl", [*lab.documents(12), {"id": "nothing", "text": "", "theme": "none"}])
    table = tmp_path / "lake" / "docs"
    done = cluster("submit", "--", "embed", source, "--table", table, *EMBED, "--then", "index")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("12 documents (") == 1
    assert "BTREE" in done.stdout or "id " in done.stdout
    assert set(lab.stored(table)) == {f"d-{number}" for number in range(12)}

    again = cluster("submit", "--", "embed", source, "--table", table, *EMBED, "--then", "index")
    assert again.returncode == 0
    assert "nothing new to embed" in again.stdout  # it was not swallowed, and had nothing to do

    missing = cluster("submit", "--json", "--", "inspect", tmp_path / "lake" / "none")
    assert missing.returncode == 1
    assert "there is no table" in missing.stderr
    assert "ended with status 1" in missing.stderr
    told = json.loads(missing.stdout)
    assert (told["status"], told["exit_status"], told["new"]) == ("failed", 1, True)

    known = json.loads(cluster("jobs", "list", "--json").stdout)["jobs"]
    listed = [job for job in known if str(tmp_path) in job["command"]]
    assert [job["status"] for job in listed] == ["succeeded", "succeeded", "failed"]
    first, second, _ = (job["job"] for job in listed)
    assert first.endswith("-1")
    assert second == first[:-1] + "2"
    assert cluster("jobs", "logs", first).stdout.count("12 documents (") == 1
    shown = cluster("jobs", "show", told["job"])
    assert "failed (1)" in shown.stdout
    assert "ambiguous" not in shown.stdout
    assert the_error(cluster("jobs", "show", "nobody")).endswith("moee jobs list --all shows all")
    stopped = cluster("jobs", "stop", first)
    assert "was over: succeeded" in stopped.stdout

    text = json.dumps([listed, cluster("jobs", "show", first, "--json").stdout])
    assert cluster.head.token not in text


def test_what_the_cluster_refuses_is_one_line(cluster):
    assert "wants a token" in the_error(cluster("jobs", "list", RAY_AUTH_TOKEN=""))
    assert "does not accept this token" in the_error(cluster("jobs", "list", RAY_AUTH_TOKEN="0" * 64))
    assert "cannot be read" in the_error(cluster("jobs", "list", RAY_AUTH_TOKEN="", RAY_AUTH_TOKEN_PATH="/none"))
    assert "nothing answers" in the_error(cluster("jobs", "list", address="http://127.0.0.1:9"))


@pytest.mark.slow
def test_a_job_that_cannot_start_says_why(cluster):
    done = cluster("submit", "--python", "/no/such/python", "--", "inspect", "/lake/docs")
    assert done.returncode == 127  # the shell's
    assert "ended with status 127" in the_error(done)
