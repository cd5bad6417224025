"""``moee infra``: container files, KubeRay manifests and clusters of machines, all from one file of values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, command_group

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]


def _values_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--values", type=Path, metavar="FILE", help="YAML; what it leaves out is at its default (moee infra values)"
    )


def _configure_render(parser: argparse.ArgumentParser) -> None:
    _values_argument(parser)
    parser.add_argument("--out", type=Path, default=Path("infra"), metavar="DIR", help="where to (infra)")


def _render(arguments: argparse.Namespace, output: Output) -> None:
    """Write every file, and say which changed."""
    from jobs.infra.render import render, write
    from jobs.infra.values import read_values
    from pipeline.errors import UsageError, first_line
    from pipeline.wording import counted

    files = render(read_values(arguments.values))
    try:
        changed = write(files, arguments.out)
    except OSError as error:
        raise UsageError(f"cannot write into {arguments.out}: {first_line(error)}") from error
    if arguments.values is None:
        output.progress.print("without --values: table, images and projects are examples", style="yellow")
    for path in changed:
        output.people.print(f"{arguments.out / path}{'' if path in files else ' (removed)'}", markup=False)
    output.people.print(f"{counted(len(files), 'file')} in {arguments.out}, {len(changed)} changed", markup=False)
    output.result({"folder": str(arguments.out), "files": list(files), "changed": changed})


def _values(arguments: argparse.Namespace, output: Output) -> None:
    """Print the values, each with its meaning."""
    from jobs.infra.values import documented, read_values

    values = read_values(arguments.values)
    if not output.json:
        output.people.print(documented(values), end="", markup=False)
    output.result(values.model_dump(mode="json"))


RENDER: Final = Command(
    name="render",
    help="Write container files, manifests and cluster configurations.",
    configure=_configure_render,
    run=_render,
    examples=("moee infra render --values values.yaml --out infra",),
)
VALUES: Final = Command(
    name="values",
    help="Print all values with their meaning, as a file to begin with.",
    configure=_values_argument,
    run=_values,
    examples=("moee infra values > values.yaml",),
)
COMMAND: Final = command_group(
    "infra",
    "Everything that a cluster needs, made from one file of values. Nothing is applied.",
    (VALUES, RENDER),
    examples=("moee infra values > values.yaml", "moee infra render --values values.yaml"),
)
