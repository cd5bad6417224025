"""What all commands share: help, wrong usage, exit statuses, one line for an error."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from jobs.cli import COMMANDS
from jobs.command import Command, parse_pairs, run_command, snippet
from pipeline.errors import UsageError


def test_help_lists_every_command(moee):
    for flag in ("--help", "-h", "help"):
        outcome = moee(flag)
        assert (outcome.status, outcome.err) == (0, "")
        assert all(f"\n  {name} " in outcome.out for name in COMMANDS)


def test_no_command_is_wrong_usage(moee):
    assert moee().status == 2


def test_an_unknown_command_is_named(moee):
    outcome = moee("embedd", "x")
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.error == "error: there is no command 'embedd' (moee --help lists them)"


def test_version(moee):
    outcome = moee("--version")
    assert outcome.status == 0
    assert outcome.out.startswith("moee ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(moee, name):
    outcome = moee(name, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert f"usage: moee {name}" in outcome.out
    assert "examples:\n  moee" in outcome.out
    assert "--json" in outcome.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_with_one_command(name):
    assert importlib.import_module(f"jobs.{name}").COMMAND.name == name


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ("embed x.jsonl", "--table"),
        ("embed --table lake/docs", "source"),
        ("embed x.jsonl --table lake/docs --limit 0", "'0' is not a whole number of at least 1"),
        ("embed x.jsonl --table lake/docs --limit many", "'many' is not a whole number"),
        ("embed x.jsonl --table lake/docs --tabel y", "--tabel"),
        ("embed x.jsonl --table lake/docs --tab y", "--tab"),
        ("embed x.jsonl --table lake/docs --pooling max", "--pooling"),
        ("embed x.jsonl --table lake/docs --alpha -3", "alpha=-3.0"),
        ("embed x.jsonl --table lake/docs --prompt blank", "prompt"),
        ("embed x.jsonl --table lake/docs --replicas 2:1", "MIN:MAX"),
        ("embed x.jsonl --table lake/docs --storage-option key", "write NAME=VALUE"),
        ("embed x.jsonl --table lake/docs!", "names no table"),
        ("search lake/docs", "give a query, --queries FILE, --like ID, --facets COLUMN"),
        ("search lake/docs query --like id", "give one of QUERY, --queries FILE and --like ID"),
        ("search lake/docs query -k five", "-k"),
        ("topics draw lake/docs", "draw"),
        ("topics fit lake/docs 3", "unrecognized arguments: 3"),
        ("inspect", "DIR/NAME"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(moee, tmp_path, monkeypatch, arguments, what):
    monkeypatch.chdir(tmp_path)
    outcome = moee(*arguments.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert what in outcome.error
    assert not any(tmp_path.iterdir())


def command_that(raises):
    def run(arguments, output):
        raise raises

    return Command("fail", "Fails.", lambda parser: None, run)


def test_an_unforeseen_error_is_one_line_without_traceback(capsys):
    assert run_command(command_that(ZeroDivisionError("by nothing\nsecond line")), []) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: unexpected ZeroDivisionError: by nothing (--debug shows where)\n"


def test_debug_lets_it_through():
    with pytest.raises(ZeroDivisionError):
        run_command(command_that(ZeroDivisionError("by nothing")), ["--debug"])


def test_an_interrupt_says_that_nothing_is_lost(capsys):
    assert run_command(command_that(KeyboardInterrupt()), []) == 130
    assert "what was committed stays" in capsys.readouterr().err


@pytest.fixture(autouse=True)
def logging_as_before():
    import logging
    import warnings

    root = logging.getLogger()
    before = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield
    root.handlers[:], root.level = before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a  b\n c", "a b c"),
        ("abcdefghijklm", "abcdefghi…"),
        ("天气预报天", "天气预报天"),
        ("天气预报天气", "天气预报 …"),
        ("a\x1b[31m", "a [31m"),
    ],
)
def test_a_snippet_is_one_line_as_wide_as_there_is_room(text, shown):
    assert snippet(text, 10) == shown


def test_pairs():
    assert parse_pairs(["a=1", "b=x=y", "c="], "--where") == {"a": "1", "b": "x=y", "c": ""}
    for wrong in ("a", "=b", ""):
        with pytest.raises(UsageError, match="--where"):
            parse_pairs([wrong], "--where")


def test_help_of_the_console_script_is_quick_and_imports_nothing_heavy():
    code = "import sys, jobs.cli; jobs.cli.main(['--help']); assert not {'torch', 'ray', 'lance'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.startswith("usage: moee COMMAND")
