"""Commands in what is rendered: each is parsed by the real parser of the command, and none is left out."""

from __future__ import annotations

import re
import shlex
from subprocess import list2cmdline

import pytest
import yaml

from jobs.cli import COMMANDS, command_of
from jobs.cluster.submission import Submission
from jobs.command import parse_command
from jobs.infra.entrypoints import embed_command, entrypoint, refresh_command
from jobs.infra.values import Values
from pipeline.errors import UsageError


def parse(words):
    """By the command's own parser; what `moee submit` carries is checked as that does."""
    program, name, *rest = words
    assert program == "moee"
    assert name in COMMANDS
    given = parse_command(command_of(name), rest)
    if name == "submit":
        Submission(tuple(given.command[1:]))


def commands(node):
    """Entrypoints and commands of containers, as words."""
    if isinstance(node, dict):
        if "entrypoint" in node:
            yield shlex.split(node["entrypoint"])
        if "command" in node:
            yield [*node["command"], *node.get("args", [])]
        for value in node.values():
            yield from commands(value)
    elif isinstance(node, list):
        for value in node:
            yield from commands(value)


def test_every_command_can_be_given(files, values):
    found = []
    for path, text in files.items():
        if path.endswith(".yaml"):
            here = [words for document in yaml.safe_load_all(text) for words in commands(document)]
            shown = len(re.findall(r"\b(?:entrypoint|command):", text))
            assert len(here) == shown, path  # none is overlooked
            found += here
    for words in found:
        parse(words)
    names = [words[1] for words in found]
    assert sorted(set(names) - {"models"}) == ["embed", "index", "submit", "topics"]
    assert ("models" in names) == (values.model_cache.claim is not None)


def test_what_stands_in_scripts_and_comments_can_be_given(default_files):
    for text in default_files.values():
        for name, *rest in (shlex.split(line) for line in re.findall(r"`moee ([^`]+)`", text)):
            assert name in COMMANDS
            if rest and rest[0] not in {"refresh", "render"}:
                parse(["moee", name, *rest])


def test_entrypoints_pass_the_shells_between_kuberay_and_the_command():
    values = Values(
        embed={"sources": ["s3://a/**/*.parquet"], "arguments": ["--keep", "the year", "--prompt", "So: {text}"]}
    )
    words = ["moee", *embed_command(values)]
    through_submitter = shlex.split(entrypoint(words[1:]))
    assert through_submitter == words
    assert shlex.split(list2cmdline(through_submitter)) == words  # what `ray job submit` makes of them


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"embed": {"arguments": ["--tabel", "x"]}}, "embed.arguments: unrecognized arguments: --tabel"),
        ({"embed": {"arguments": ["--limit", "0"]}}, "embed.arguments: argument --limit"),
        ({"embed": {"arguments": ["--help"]}}, "embed.arguments: --help does nothing"),
        ({"embed": {"arguments": ["--replicas=9"]}}, "embed.arguments: --replicas follows from other values"),
        ({"embed": {"arguments": ["--storage-option", "secret_access_key=x"]}}, "looks like a secret"),
        ({"embed": {"arguments": ["--prompt", "$HOME {text}"]}}, r"embed.arguments: '\$' in"),
        ({"embed": {"sources": ["s3://a/b;rm"]}}, "';' in 's3://a/b;rm'"),
    ],
)
def test_arguments_that_no_command_takes_are_refused_before_anything_is_written(values, told):
    with pytest.raises(UsageError, match=told):
        embed_command(Values(**values))


def test_arguments_of_the_refresh_are_checked_too():
    for arguments in (["--refit", "--no-refit"], ["--help"]):
        with pytest.raises(UsageError, match=r"topics\.arguments: "):
            refresh_command(Values(topics={"arguments": arguments}))
