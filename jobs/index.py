"""``moee index``: build or refresh a table's indexes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, parse_pairs, run_command

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee index``."""
    parser.add_argument("table", metavar="DIR/NAME")
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="NAME=VALUE", help="for object storage"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Build, and list what there is."""
    from pipeline.table import VectorTable

    table = VectorTable.open(arguments.table, parse_pairs(arguments.storage_option, "--storage-option") or None)
    indexes = [asdict(index) for index in table.index()]
    for index in indexes:
        output.people.print(", ".join(f"{name} {value}" for name, value in index.items()), markup=False)
    output.result({"table": str(table.location), "indexes": indexes})


COMMAND: Final = Command(
    name="index",
    help="Build or refresh the nearest-neighbour, id and full-text indexes of a table; join its small fragments.",
    configure=configure,
    run=run,
    examples=("moee index lake/docs",),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
