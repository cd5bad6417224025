"""``moee delete``: remove documents for good; no later run brings them back, also when their file changes."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jobs.command import Command, Output, printable, run_command, storage_options, table_arguments
from pipeline.errors import TableError, UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

__all__ = ["COMMAND"]

_NAMED: Final = 10
"""So many unknown ids are named; the rest is counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee delete``."""
    table_arguments(parser)
    parser.add_argument("id", nargs="*", help="ids of documents; of a document stored in chunks, all chunks go")
    parser.add_argument("--from-file", metavar="FILE", help="more ids, one a line; - reads standard input")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Delete what is there, and say what was not."""
    from pipeline.table import VectorTable
    from pipeline.table.changes.deletion import delete_documents

    ids = [*arguments.id, *(_listed(arguments.from_file) if arguments.from_file else ())]
    if not ids:
        raise UsageError("no ID given: name at least one document, or a file of ids with --from-file")
    table = VectorTable.open(arguments.table, storage_options(arguments))
    deleted = delete_documents(table.location, table.dataset(), ids)
    rows = f" ({deleted.rows:,} chunks)" if deleted.rows > deleted.documents else ""
    before = f", {len(deleted.before):,} had been deleted before" if deleted.before else ""
    left = table.count_rows()
    documents, holds = counted(deleted.documents, "document"), counted(left, "row")
    output.people.print(f"{documents} deleted{rows}{before}; {table.location} holds {holds}", markup=False)
    output.result({**asdict(deleted), "table": str(table.location), "table_rows": left})
    if deleted.unknown:
        raise TableError(f"{table.location} has no {_names(deleted.unknown)}; everything else that was named is gone")


def _listed(name: str) -> list[str]:
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--from-file {name}: cannot be read as text: {error}") from error
    # Not splitlines: it also splits at characters that an id may hold.
    return [line.removesuffix("\r") for line in text.split("\n") if line.strip()]


def _names(ids: tuple[str, ...]) -> str:
    shown = ", ".join(repr(printable(each)) for each in ids[:_NAMED])
    more = f" and {len(ids) - _NAMED:,} others" if len(ids) > _NAMED else ""
    return f"document {shown}{more}" if len(ids) == 1 else f"documents {shown}{more}"


COMMAND: Final = Command(
    name="delete",
    help="Remove documents for good. They do not come back on the next run, also when their file has changed.",
    configure=configure,
    run=run,
    examples=("moee delete lake/docs doc-17 doc-18", "moee delete lake/docs --from-file withdrawn.txt"),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
