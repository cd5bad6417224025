"""``moee index``: build or refresh a table's indexes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, run_command, storage_options, table_arguments
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee index``."""
    table_arguments(parser)
    parser.add_argument(
        "--clean",
        type=float,
        metavar="DAYS",
        help="then drop versions older than DAYS, but tagged ones: what was deleted or replaced leaves the disk",
    )
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="before cleaning, for a run on this table to end (0)"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Build, and list what there is."""
    from pipeline.errors import UsageError
    from pipeline.table import VectorTable
    from pipeline.table.query.indexes import MIN_ROWS
    from pipeline.table.schema import VECTOR
    from pipeline.table.upkeep import MAX_DAYS

    if arguments.clean is not None and not 0 <= arguments.clean <= MAX_DAYS:
        raise UsageError(f"--clean {arguments.clean:g}: versions are kept for 0 to {MAX_DAYS:,} days")
    table = VectorTable.open(arguments.table, storage_options(arguments))
    with output.following("indexing"):
        indexes = table.index()
    for index in indexes:
        left = f", {index.missing:,} still to be indexed" if index.missing else ""
        output.people.print(f"{index.column:12} {index.kind}, {counted(index.rows, 'row')}{left}", highlight=False)
    if VECTOR not in {index.column for index in indexes}:
        output.people.print(f"{VECTOR:12} none: exact search is fast below {MIN_ROWS:,} rows", highlight=False)
    found: dict[str, object] = {"table": str(table.location), "indexes": [asdict(index) for index in indexes]}
    if arguments.clean is not None:
        with output.following("dropping older versions"):
            cleaned = table.clean(arguments.clean, wait=arguments.wait)
        versions = counted(cleaned.versions, "older version")
        output.people.print(f"{versions} dropped, {cleaned.bytes / 1e6:,.1f} MB freed", highlight=False)
        found["cleaned"] = asdict(cleaned)
    output.result(found)


COMMAND: Final = Command(
    name="index",
    help="Build or refresh the nearest-neighbour, id and full-text indexes of a table; join its small fragments.",
    configure=configure,
    run=run,
    examples=("moee index lake/docs", "moee index lake/docs --clean 30"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
