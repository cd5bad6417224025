"""The commands in manifests: made from values, and parsed by the commands' own parsers before they are written."""

from __future__ import annotations

import argparse
import re
import shlex
from typing import TYPE_CHECKING, Final, NoReturn

from jobs.cli import command_of
from jobs.cluster.secrets import refuse_secrets
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from jobs.infra.values import Values

__all__ = ["embed_command", "entrypoint", "fetch_command", "index_command", "refresh_command"]

SHELL_LETTERS: Final = re.compile(r"""[$`\\"';&|<>()#!\n]""")
"""Between KubeRay and the command stand two shells, and Ray's quoting, which is that of Windows: what they would change
is refused."""

SET_BY_VALUES: Final = {"--table", "--replicas", "--engine", "--model", "--revision"}


def embed_command(values: Values) -> list[str]:
    """`moee embed`, with a replica for each GPU of the job.

    Raises:
        UsageError: an argument that the command does not take, or that may not stand in a manifest.
    """
    replicas = str(values.embed.nodes * getattr(values, values.embed.market).gpus)
    revision = [] if values.revision is None else ["--revision", values.revision]
    given = ["--table", values.table, "--model", values.model, *revision, "--engine", "ray", "--replicas", replicas]
    return _checked(["embed", *values.embed.sources, *given], values.embed.arguments, "embed.arguments")


def index_command(values: Values) -> list[str]:
    """`moee index`."""
    return _checked(["index", values.table], (), "table")


def refresh_command(values: Values) -> list[str]:
    """`moee topics refresh`.

    Raises:
        UsageError: as of `embed_command`.
    """
    return _checked(["topics", "refresh", values.table], values.topics.arguments, "topics.arguments")


def fetch_command(values: Values) -> list[str]:
    """`moee models`, which fetches a model of the hub to describe it."""
    revision = [] if values.revision is None else ["--revision", values.revision]
    return _checked(["models", values.model, *revision], (), "model")


def entrypoint(command: list[str]) -> str:
    """`command` as the text that a shell takes apart again."""
    return shlex.join(["moee", *command])


def _checked(words: list[str], further: tuple[str, ...], where: str) -> list[str]:
    for word in further:
        option = word.partition("=")[0]
        if option in SET_BY_VALUES:
            raise UsageError(f"{where}: {option} follows from other values")
    whole = [*words, *further]
    for word in whole:
        if found := SHELL_LETTERS.search(word):
            raise UsageError(f"{where}: {found[0]!r} in {word!r} would not pass the shells that KubeRay puts between")
    refuse_secrets(whole, {})
    name, *rest = whole
    parser = _Parser(allow_abbrev=False)
    command_of(name).configure(parser)
    try:
        parser.parse_args(rest)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error
    return whole


class _Parser(argparse.ArgumentParser):
    """A command's parser that raises what is wrong instead of leaving."""

    def print_help(self, file: object = None) -> NoReturn:  # noqa: ARG002  the signature is argparse's
        raise ValueError("--help does nothing")

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)
