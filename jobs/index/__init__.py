"""``moee index``: build a table's indexes and bring them up to date; make it known to LanceDB's embedding registry."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, storage_options, table_arguments
from jobs.index.check import check_table
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

    from pipeline.table import VectorTable
    from pipeline.table.indexes.listing import IndexInfo

__all__ = ["COMMAND", "build_indexes", "index_line"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee index``."""
    table_arguments(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing: measure recall and time of search on the table's own rows, and say what to change",
    )
    parser.add_argument(
        "--clean",
        type=float,
        metavar="DAYS",
        help="then drop versions older than DAYS, but tagged ones: what was deleted or replaced leaves the disk",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="build the index of the vectors again, as for a new table"
    )
    registry = parser.add_mutually_exclusive_group()
    registry.add_argument(
        "--register",
        action="store_const",
        const=True,
        help="let LanceDB's table.search take words; readers without this package can then no longer add rows",
    )
    registry.add_argument("--unregister", dest="register", action="store_const", const=False, help="take that back")
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="before cleaning, for a run on this table to end (0)"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Build, and list what there is."""
    from pipeline.errors import UsageError
    from pipeline.table import VectorTable
    from pipeline.table.upkeep import MAX_DAYS

    if arguments.clean is not None and not 0 <= arguments.clean <= MAX_DAYS:
        raise UsageError(f"--clean {arguments.clean:g}: versions are kept for 0 to {MAX_DAYS:,} days")
    if arguments.check and (arguments.rebuild or arguments.clean is not None or arguments.register is not None):
        raise UsageError("--check changes nothing: give it alone")
    table = VectorTable.open(arguments.table, storage_options(arguments))
    if arguments.check:
        check_table(table, output)
        return
    found = build_indexes(table, output, rebuild=arguments.rebuild)
    if arguments.register is not None:
        found["registered"] = _register(table, arguments.register, output)
    if arguments.clean is not None:
        with output.following("dropping older versions"):
            cleaned = table.clean(arguments.clean, wait=arguments.wait)
        versions = counted(cleaned.versions, "older version")
        output.people.print(f"{versions} dropped, {cleaned.bytes / 1e6:,.1f} MB freed", highlight=False)
        found["cleaned"] = asdict(cleaned)
    output.result(found)


def build_indexes(table: VectorTable, output: Output, *, rebuild: bool = False) -> dict[str, Any]:
    """Build all indexes, tell people of each, and return what goes into ``--json``."""
    from pipeline.table.indexes.choice import choose_indexes

    with output.following("indexing"):
        indexes = table.index(rebuild=rebuild)
    choices = choose_indexes(table.schema, table.count_rows())
    there = {index.column for index in indexes}
    without = {name: choice.why_not for name, choice in choices.items() if choice.kind is None and name not in there}
    for index in indexes:
        output.people.print(index_line(index), markup=False, highlight=False)
    for why in dict.fromkeys(without.values()):
        names = ", ".join(name for name, reason in without.items() if reason == why)
        output.people.print(f"{names:12} none: {why}", markup=False, highlight=False)
    return {"table": str(table.location), "indexes": [asdict(index) for index in indexes], "without": without}


def index_line(index: IndexInfo) -> str:
    """One index for people: its column, kind, parameters and how far it goes."""
    left = f", {counted(index.missing, 'later row')} not covered" if index.missing else ""
    unused = "" if index.is_used else " (not used: searches need another kind or metric)"
    return f"{index.column:12} {index.described}, {counted(index.rows, 'row')}{left}{unused}"


def _register(table: VectorTable, wanted: bool, output: Output) -> bool:  # noqa: FBT001 — what the user said
    from pipeline.table.lancedb_registry import register_table, unregister_table

    if wanted:
        register_table(table)
        output.people.print("registered: LanceDB takes words after import pipeline.table.lancedb_registry")
    else:
        unregister_table(table)
        output.people.print("not registered any more")
    return wanted


COMMAND: Final = Command(
    name="index",
    help="Build the indexes of a table and bring them up to date; join its small fragments.",
    configure=configure,
    run=run,
    examples=("moee index lake/docs", "moee index lake/docs --check", "moee index lake/docs --clean 30"),
)
