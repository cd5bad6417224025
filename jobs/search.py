"""``moee search``: the documents of a table that are nearest to a query."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from rich.text import Text

from jobs.command import Command, Output, parse_pairs, printable, run_command, snippet, storage_options, table_arguments
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse

    import pyarrow as pa
    from rich.console import Console

__all__ = ["COMMAND", "show_hits"]

INTERNAL: Final = {"id", "text", "_score", "hs_norm", "rw_norm", "n_tokens", "truncated", "source", "slice", "row"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee search``."""
    table_arguments(parser)
    parser.add_argument("query", nargs="?", help="what to look for; - reads it from stdin")
    parser.add_argument("-k", type=int, default=10, help="how many documents (10)")
    parser.add_argument("--alpha", type=float, help="weight of the routing half (default: the table's own)")
    parser.add_argument("--mode", choices=["vector", "text", "hybrid"], default="vector")
    parser.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="only where they are equal")
    parser.add_argument("--where-sql", metavar="EXPR", help="only where this SQL condition holds")
    parser.add_argument("--like", metavar="ID", help="the neighbours of this document or chunk, instead of a query")
    parser.add_argument("--by-document", action="store_true", help="each document once, by its best chunk")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Search and show."""
    from pipeline.table import VectorTable

    query = sys.stdin.read().strip() if arguments.query == "-" else arguments.query
    if (query is None) == (arguments.like is None):
        raise UsageError("search: give a query, or --like ID")
    table = VectorTable.open(arguments.table, storage_options(arguments))
    hits = table.search(
        query,
        k=arguments.k,
        alpha=arguments.alpha,
        where=parse_pairs(arguments.where, "--where") or None,
        where_sql=arguments.where_sql,
        mode=arguments.mode,
        like=arguments.like,
        by_document=arguments.by_document,
    )
    show_hits(output.people, hits)
    output.result({"table": str(table.location), "query": query, "like": arguments.like, "hits": hits})


def show_hits(console: Console, hits: pa.Table, indent: str = "") -> None:
    """Two lines a hit: score, id and metadata; the beginning of the text."""
    from pipeline.values import as_cell, as_json

    if not hits.num_rows:
        console.print(f"{indent}no document matches")
    for row in as_json(hits):
        metadata = [f"{name}={as_cell(row[name])}" for name in row if name not in INTERNAL and row[name] is not None]
        head = Text(f"{indent}{row['_score']:.3f}  ", style="bold")
        head.append(printable("  ".join([row["id"], *metadata])), style="cyan")
        console.print(head)
        if row.get("text"):
            room = max(console.width, 80) - len(indent) - 7
            console.print(Text(f"{indent}       {snippet(row['text'], room)}"))


COMMAND: Final = Command(
    name="search",
    help="Find the documents nearest to a query, with the table's own model and calibration.",
    configure=configure,
    run=run,
    examples=(
        'moee search lake/docs "how are keys exchanged" -k 5',
        'moee search lake/docs "space flight" --alpha 0 --where author=Clarke --json',
        "moee search lake/docs --like docs.parquet-1a2b3c4d5e6f:17",
    ),
)

if __name__ == "__main__":
    sys.exit(run_command(COMMAND))
