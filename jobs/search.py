"""``moee search``: the documents of a table that are nearest to a query."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from jobs.command import Command, Output, parse_pairs, run_command
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse

    import pyarrow as pa
    from rich.console import Console

__all__ = ["COMMAND", "show_hits"]

INTERNAL: Final = {"id", "text", "_score", "hs_norm", "rw_norm", "n_tokens", "truncated", "source", "slice", "row"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee search``."""
    parser.add_argument("table", metavar="DIR/NAME")
    parser.add_argument("query", nargs="?", help="what to look for; - reads it from stdin")
    parser.add_argument("-k", type=int, default=10, help="how many documents (10)")
    parser.add_argument("--alpha", type=float, help="weight of the routing half (default: the table's own)")
    parser.add_argument("--mode", choices=["vector", "text", "hybrid"], default="vector")
    parser.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="only where they are equal")
    parser.add_argument("--where-sql", metavar="EXPR", help="only where this SQL condition holds")
    parser.add_argument("--like", metavar="ID", help="the neighbours of this document, instead of a query")
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="NAME=VALUE", help="for object storage"
    )


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Search and show."""
    from pipeline.table import VectorTable

    query = sys.stdin.read().strip() if arguments.query == "-" else arguments.query
    if (query is None) == (arguments.like is None):
        raise UsageError("search: give a query, or --like ID")
    table = VectorTable.open(arguments.table, parse_pairs(arguments.storage_option, "--storage-option") or None)
    hits = table.search(
        query,
        k=arguments.k,
        alpha=arguments.alpha,
        where=parse_pairs(arguments.where, "--where") or None,
        where_sql=arguments.where_sql,
        mode=arguments.mode,
        like=arguments.like,
    )
    show_hits(output.people, hits)
    output.result({"table": str(table.location), "query": query, "like": arguments.like, "hits": hits.to_pylist()})


def show_hits(console: Console, hits: pa.Table) -> None:
    """Rank, score, id, metadata, and the beginning of the text."""
    if not hits.num_rows:
        console.print("no document matches")
        return
    metadata = [name for name in hits.column_names if name not in INTERNAL]
    view = Table(box=None, pad_edge=False, header_style="bold", expand=False)
    view.add_column("score", justify="right", no_wrap=True, min_width=6)
    for name in metadata:
        view.add_column(name, no_wrap=True, style="cyan", max_width=24)
    view.add_column("text" if "text" in hits.column_names else "id", no_wrap=True, overflow="ellipsis", max_width=100)
    for row in hits.to_pylist():
        view.add_row(f"{row['_score']:.3f}", *(_cell(row[name]) for name in metadata), _snippet(row))
    console.print(view, soft_wrap=False)


def _snippet(row: dict[str, Any]) -> str:
    return _escape(" ".join(str(row.get("text") or row["id"])[:400].split())[:160])


def _cell(value: Any) -> str:
    return _escape("" if value is None else str(value))


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape("".join(character if character.isprintable() else " " for character in text))


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
