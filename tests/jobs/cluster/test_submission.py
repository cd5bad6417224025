from __future__ import annotations

import shlex

import pytest

from jobs.cli import COMMANDS, command_of, main
from jobs.cluster.client import job_address
from jobs.cluster.submission import STOP_SECONDS, Submission
from jobs.command import parse_command
from pipeline.errors import UsageError

EMBED = ("embed", "s3://bucket/crawl/", "--table", "s3://bucket/lake/docs")


def test_the_entrypoint_is_the_command_as_a_shell_takes_it():
    words = (*EMBED, "--prompt", 'say "{text}" in one word; $HOME')
    assert shlex.split(Submission(words).entrypoint) == ["python", "-m", "jobs.cli", *words]


def test_jobs_of_one_command_share_a_prefix_and_others_do_not():
    first = Submission(EMBED).prefix
    assert first == Submission(EMBED, python="/opt/python").prefix
    assert first.startswith("embed-docs-")
    assert first != Submission((*EMBED, "--limit", "3")).prefix
    assert Submission(("topics", "refresh", "/lake/Größe")).prefix.startswith("topics-refresh-Gr--e-")


def test_a_job_has_time_to_end_and_may_set_variables_of_its_own():
    environment = Submission(EMBED, environment={"OMP_NUM_THREADS": "4"}).runtime_env["env_vars"]
    assert environment["RAY_JOB_STOP_WAIT_TIME_S"] == str(STOP_SECONDS)
    assert environment["RAY_OVERRIDE_JOB_RUNTIME_ENV"] == "1"
    assert environment["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    "more",
    [
        ["--storage-option", "aws_secret_access_key=abc"],
        ["--storage-option=secret=abc"],
        ["--storage-option", "account_key=abc"],
        ["--prompt", "https://user:word@host/"],
        ["--prompt", "https://host/file?X-Amz-Signature=0a0b"],
        ["--prompt", "AKIA0123456789ABCDEF"],
        ["--storage-option", "azure_storage_connection_string=abc"],
        ["--storage-option", "endpoint=DefaultEndpointsProtocol=https;AccountKey=abc"],
        ["--storage-option", "headers=Bearer abc"],
        ["--storage-option", 'account={"private_key": "abc"}'],
        ["--prompt", "https://host/file?access_token=abc"],
    ],
)
def test_secrets_are_refused_and_not_repeated(more):
    with pytest.raises(UsageError, match="looks like a secret") as told:
        Submission((*EMBED, *more))
    assert not any(part in str(told.value) for part in ("abc", "word", "0a0b", "AKIA"))


def test_secrets_in_the_environment_are_refused():
    for environment in ({"HF_TOKEN": "x"}, {"APIKEY": "x"}, {"PLACE": "s3://me:word@host"}):
        with pytest.raises(UsageError, match="looks like a secret"):
            Submission(EMBED, environment=environment)
    assert Submission((*EMBED, "--storage-option", "region=eu", "--keep", "token")).entrypoint
    assert Submission(("search", "/lake/docs", "oven", "--where", "key=3")).entrypoint
    assert Submission(("search", "/lake/docs", "what is a password=?")).entrypoint


def test_what_cannot_be_a_job_is_refused(tmp_path):
    for words in ((), ("submit", "--", "embed"), ("nothing",)):
        with pytest.raises(UsageError, match="no command for a job"):
            Submission(words)
    for words in (("embed", "docs", "--table", "/lake/docs"), ("embed", "/docs", "--table", "lake/docs")):
        with pytest.raises(UsageError, match="a relative path"):
            Submission(words)
    (tmp_path / "text.whl").write_text("text")
    for wheel in ("dist/none.whl", str(tmp_path / "text.whl")):
        with pytest.raises(UsageError, match="no wheel of moee-pipeline"):
            Submission(EMBED, wheel=wheel)
    with pytest.raises(SystemExit) as left:
        Submission(("embed", "s3://bucket/crawl/"))
    assert left.value.code == 2


def test_an_address_is_http_and_holds_no_password(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert job_address(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "https://head/")
    assert job_address(None) == "https://head"
    assert job_address("http://other:1") == "http://other:1"
    for wrong in ("ray://head:10001", "head:8265", "http://me:word@head"):
        with pytest.raises(UsageError, match="over HTTP") as told:
            job_address(wrong)
        assert "word" not in str(told.value)


def test_every_command_can_be_parsed_without_being_run(capsys):
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            parse_command(command_of(name), ["--help"])
    assert main(["submit"]) == 2
    assert "name a command after --" in capsys.readouterr().err
