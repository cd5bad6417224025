"""``moee``: all commands under one name. A command's module is imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from jobs.command import run_command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.command import Command

__all__ = ["COMMANDS", "command_of", "main"]

COMMANDS: Final = {
    "demo": "the whole pipeline, offline, on text found on this machine",
    "embed": "documents → vectors in a table (resumes by itself)",
    "search": "the documents nearest to a query",
    "index": "build or refresh a table's indexes",
    "topics": "fit topics on a table's vectors, and show them",
    "delete": "remove documents for good",
    "inspect": "what a table holds: spec, rows, rejects, runs, topics",
    "serve": "search, documents, facets and topics over HTTP",
    "submit": "run a command as a job on a Ray cluster",
    "jobs": "the jobs of a Ray cluster: list, logs, stop, show",
    "infra": "container files, KubeRay manifests and clusters of machines, from one file of values",
    "models": "which models are supported; what one checkpoint is",
    "evaluate": "how good a model's vectors are, against baselines",
    "doctor": "what is wrong with this machine, a table's storage, a cluster",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0 if given else 2
    if given[0] in {"-V", "--version"}:
        print(f"moee {version('moee-pipeline')}")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        print(f"error: there is no command {name!r} (moee --help lists them)", file=sys.stderr)
        return 2
    status = run_command(command_of(name), rest)
    sys.stdout.flush()
    return status


def command_of(name: str) -> Command:
    """The command of a name in `COMMANDS`."""
    return import_module(f"jobs.{name}").COMMAND


def _help() -> str:
    lines = [f"  {name:9} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: moee COMMAND [ARGUMENTS]",
            "",
            "MoEE embeddings from Mixture-of-Experts models: embed, search, find topics.",
            "",
            *lines,
            "",
            "moee COMMAND --help says more; --json gives one JSON object on stdout.",
            "Exit status: 0 done, 1 error, 2 wrong usage, 130 interrupted, 143 terminated.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
