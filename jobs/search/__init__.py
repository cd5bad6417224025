"""``moee search``: the documents of a table that are nearest to a query."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from jobs.command import Command, Output, snippet, storage_options, table_arguments
from jobs.duplicates import duplicate_arguments, show_duplicates
from jobs.search.formats import FORMATS, chosen_format, hit_writer
from jobs.search.hits import show_facets, show_hits
from jobs.search.queries import read_queries
from pipeline.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from pipeline.table import VectorTable

__all__ = ["COMMAND", "show_hits"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee search``."""
    table_arguments(parser)
    parser.add_argument(
        "query", nargs="?", help="what to look for; - reads it from stdin; none, at a terminal: a prompt"
    )
    parser.add_argument("--queries", metavar="FILE", help='many: a line each, or JSON lines {"query": …, "alpha": …}')
    examples = parser.add_argument_group("by example")
    examples.add_argument(
        "--like", nargs="+", action="extend", metavar="ID", help="neighbours of these documents (hybrid: and a query)"
    )
    examples.add_argument("--unlike", nargs="+", action="extend", metavar="ID", help="and far from these")
    parser.add_argument("--mode", choices=["vector", "text", "hybrid"], default="vector")
    parser.add_argument("--alpha", type=float, help="weight of the routing half (default: the table's own)")
    rows = parser.add_argument_group("which rows")
    rows.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help="lang=de, year>=1990, 'editor is null', or JSON",
    )
    rows.add_argument("--where-sql", metavar="EXPR", help="only where this SQL condition holds")
    rows.add_argument("--at", metavar="VERSION", help="the table as it was: a version's number, or a tag")
    hits = parser.add_argument_group("which hits")
    hits.add_argument("-k", type=int, default=10, help="how many (10)")
    hits.add_argument("--offset", type=int, default=0, metavar="N", help="without the N best: the next page")
    hits.add_argument("--min-score", type=float, metavar="SCORE", help="none that scores less")
    hits.add_argument("--group-by", metavar="COLUMN", help="the best one for each value of COLUMN")
    hits.add_argument("--by-document", action="store_true", help="of a table in chunks, the best one of each document")
    hits.add_argument("--diversity", type=float, default=0.0, metavar="D", help="0: the best; towards 1: less alike")
    shown = parser.add_argument_group("what is shown")
    shown.add_argument(
        "--facets", nargs="+", action="extend", metavar="COLUMN", help="how often values occur, the 20 most frequent"
    )
    shown.add_argument(
        "--columns", nargs="+", action="extend", metavar="COLUMN", help="which columns (all but the vector)"
    )
    shown.add_argument("--format", choices=FORMATS, help="table")
    shown.add_argument("--output", metavar="FILE", help="write the hits there")
    duplicate_arguments(parser)


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Search and show."""
    from pipeline.table import VectorTable

    form = chosen_format(arguments.format, arguments.output, json=output.json)
    if form == "json":
        output = replace(output, people=output.progress, json=True)
    asks_at_terminal = _check_what_is_asked(arguments, form)
    table = VectorTable.open(arguments.table, storage_options(arguments))
    if arguments.duplicates is not None:
        show_duplicates(arguments, output, table, form)
        return
    options = _options(arguments, table)
    query = sys.stdin.read().strip() if arguments.query == "-" else arguments.query
    if arguments.queries is not None:
        _many(arguments, output, table, options, form)
    elif query is not None or arguments.like:
        hits = table.search(query, **options)
        if form in {"table", "json"}:
            _show(arguments, output, table, query, hits)
        else:
            with hit_writer(form, arguments.output) as writer:
                writer.write(hits)
    elif asks_at_terminal:
        from jobs.search.prompt import prompt

        prompt(table, output, options, arguments.where)
    else:
        _show(arguments, output, table, None, None)


def _check_what_is_asked(arguments: argparse.Namespace, form: str) -> bool:
    """Refuse a call that asks for nothing, or for several things; whether queries are asked for at the terminal."""
    if arguments.duplicates is not None:  # checks for itself what goes with it
        return False
    if arguments.groups:
        raise UsageError("--groups are those of near-duplicates: say --duplicates SCORE, too")
    words = [given for given in (arguments.query, arguments.queries) if given is not None]
    if len(words) > 1 or (words and arguments.like and arguments.mode != "hybrid"):
        raise UsageError("search: give one of QUERY, --queries FILE and --like ID")
    if arguments.facets and (arguments.queries is not None or form not in {"table", "json"}):
        raise UsageError("--facets are counts beside the hits of one query: leave out --queries, --output and --format")
    if arguments.by_document and arguments.group_by is not None:
        raise UsageError("--by-document is --group-by with the document: give one of them")
    if words or arguments.like or arguments.facets:
        return False
    if not sys.stdin.isatty() or form != "table":
        raise UsageError("search: give a query, --queries FILE, --like ID, --facets COLUMN or --duplicates SCORE")
    return True


def _options(arguments: argparse.Namespace, table: VectorTable) -> dict[str, Any]:
    """Fields of a `Question`, but for the query."""
    from pipeline.table.query.grammar import parse_conditions, parse_version
    from pipeline.table.schema import document_column

    same = ("k", "offset", "alpha", "mode", "where_sql", "like", "unlike", "min_score", "diversity", "columns")
    options = {name: getattr(arguments, name) for name in same}
    group = document_column(table.schema) if arguments.by_document else arguments.group_by
    where, at = parse_conditions(arguments.where) or None, parse_version(arguments.at)
    return {**options, "where": where, "group_by": group, "at": at}


def _many(
    arguments: argparse.Namespace, output: Output, table: VectorTable, options: dict[str, Any], form: str
) -> None:
    """Answer the queries of a file, one after the other."""
    from pipeline.table.schema import QUERY

    queries = read_queries(arguments.queries, options.pop("alpha"))
    found = zip(queries.texts, table.search_many(queries.texts, alpha=queries.alphas, **options), strict=True)
    if form == "table":
        for query, hits in found:
            output.people.print(snippet(query, max(output.people.width, 80)), style="bold", markup=False)
            show_hits(output.people, hits, "  ", words=_marked(options["mode"], query))
    elif form == "json":
        answers = [{"query": query, "hits": hits} for query, hits in found]
        output.result({"table": str(table.location), "queries": answers})
    else:
        with hit_writer(form, arguments.output) as writer:
            for query, hits in found:
                writer.write(hits.add_column(0, QUERY, pa.array([query] * hits.num_rows, pa.string())))


def _show(
    arguments: argparse.Namespace, output: Output, table: VectorTable, query: str | None, hits: pa.Table | None
) -> None:
    result: dict[str, Any] = {"table": str(table.location), "query": query, "like": arguments.like}
    if hits is not None:
        show_hits(output.people, hits, words=_marked(arguments.mode, query))
        result["hits"] = hits
    if arguments.facets:
        options = _options(arguments, table)
        conditions = {name: options[name] for name in ("where", "where_sql", "at")}
        result["facets"] = table.facets(arguments.facets, **conditions)
        show_facets(output.people, result["facets"])
    output.result(result)


def _marked(mode: str, query: str | None) -> str | None:
    """The query whose words are marked in hits: not in those by vector, which need not have any."""
    return None if mode == "vector" else query


COMMAND: Final = Command(
    name="search",
    help="Find the documents nearest to a query, with the table's own model and calibration.",
    configure=configure,
    run=run,
    examples=(
        'moee search lake/docs "how are keys exchanged" -k 5',
        'moee search lake/docs "space flight" --alpha 0 --where author=Clarke --where "year>=1960" --json',
        "moee search lake/docs --like docs.parquet-1a2b3c4d5e6f:17 --unlike docs.parquet-1a2b3c4d5e6f:40",
        "moee search lake/docs '\"new york\" subway' --mode hybrid --group-by author",
        "moee search lake/docs --queries questions.txt -k 100 --output hits.parquet",
        "moee search lake/docs --facets author year",
        "moee search lake/docs --duplicates 0.98 --groups --output duplicates.parquet",
    ),
)
