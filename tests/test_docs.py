"""What can be checked of the documentation: links, paths, commands, and lists that the code has, too."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest

from jobs.cli import COMMANDS, command_of
from jobs.cluster.submission import Submission
from jobs.command import parse_command
from pipeline import rejects
from pipeline.table.location import COMPANIONS

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
MAX_README_LINES = 200

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def commands(page):
    """The lines of shell blocks that call `moee`, without their comments and where their output goes."""
    blocks = re.findall(r"```(?:sh)?\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True)[1:] for line in lines if re.match(r"moee [a-z]", line)]
    return [list(takewhile(lambda word: word not in {">", "|"}, given)) for given in words]


@pages
def test_links_lead_to_pages_and_headings_that_are_there(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if target.startswith("https://"):
            continue
        path, _, heading = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not heading or heading in anchors(linked), target


@pages
def test_paths_that_are_named_are_there(page):
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:pipeline|jobs|tests|docs|examples)/[\w/.-]+)`", text):
        assert (ROOT / path).exists() or "NAME-DATE" in path or "NNNN" in path, path
    for result in re.findall(r"`([\w-]+-\d{8}-\d{4}\.json)`", text):
        assert (ROOT / "tests/bench/results" / result).is_file(), result


@pages
def test_commands_that_are_shown_can_be_given(page):
    for name, *rest in commands(page):
        assert name in COMMANDS
        words = [word.replace("…", "more") for word in rest]
        given = parse_command(command_of(name), words)
        if name == "submit" and given.command[1:] != ["COMMANDmore"]:
            Submission(tuple(given.command[1:]))


def test_the_readme_is_no_manual():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_every_companion_is_described():
    text = (ROOT / "docs/reference/tables.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`docs\.([\w.]+)`", text)) == set(COMPANIONS)


def test_every_reason_of_a_reject_says_what_to_do():
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    reasons = {rejects.DUPLICATE, rejects.KILLER, rejects.NOT_TEXT, rejects.TOO_LONG, rejects.UNREADABLE}
    for reason in rejects.FINAL | reasons | {rejects.NOT_FINITE}:
        assert f"`{reason}`" in text, reason


def test_every_decision_is_listed_and_has_its_parts():
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    for record in (ROOT / "docs/decisions").glob("*.md"):
        assert f"decisions/{record.name}" in index
        assert re.findall(r"^## (.*)$", record.read_text(encoding="utf-8"), re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]
