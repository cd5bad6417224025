"""``moee inspect``: what a table holds: spec, rows, versions, rejects, runs, indexes, topics."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from jobs.command import Command, Output, printable, storage_options, table_arguments
from jobs.index import index_line
from jobs.inspect.runs import show_runs, watch_run
from pipeline.errors import TopicError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from pipeline.table import VectorTable

__all__ = ["COMMAND"]

MAX_TAIL: Final = 0.1
"""Share of the rows that indexes may leave out before people are told."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moee inspect``."""
    table_arguments(parser)
    parser.add_argument("--rejects", action="store_true", help="list the rejected documents, each with its reason")
    parser.add_argument("--reason", metavar="REASON", help="list the rejects of this reason only")
    parser.add_argument(
        "--runs", action="store_true", help="list the runs: what each did, and which stage it waited for"
    )
    parser.add_argument(
        "--watch", action="store_true", help="follow the run that is at work, on whatever machine, until it ends"
    )
    parser.add_argument("-n", type=int, default=50, help="how many rejects or runs to list (50)")


def run(arguments: argparse.Namespace, output: Output) -> None:
    """Look into the table and show it."""
    from pipeline.table import TableLocation, VectorTable
    from pipeline.table.companions.rejects import list_rejects
    from pipeline.values import as_json

    if arguments.watch:
        output.result(watch_run(TableLocation.parse(arguments.table, storage_options(arguments)), output))
        return
    table = VectorTable.open(arguments.table, storage_options(arguments))
    info: dict[str, Any] = {**table.info(), "topics": _topics(table)}
    if arguments.rejects or arguments.reason is not None:
        listed = as_json(list_rejects(table.location, arguments.n, arguments.reason))
        info["listed_rejects"] = listed
        _show_rejects(output.people, listed, info["rejects"], arguments.reason)
    elif arguments.runs:
        show_runs(output.people, info["runs"][-arguments.n :])
    else:
        _show(output.people, info)
    output.result(info)


def _topics(table: VectorTable) -> dict[str, Any] | None:
    from pipeline.topics import load_topics

    try:
        model = load_topics(table).model
    except TopicError:
        return None
    return {
        "version": model.version,
        "topics": model.topics,
        "documents": model.documents,
        "outliers": model.outliers,
        "recipe": model.recipe,
        "created": model.created,
    }


def _show(console: Console, info: dict[str, Any]) -> None:
    from pipeline.table.indexes.listing import IndexInfo
    from pipeline.table.query.search import PLAIN_SEARCH

    reader, rejects, changed = info["reader"], info["rejects"], datetime.fromisoformat(info["changed"])
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejects["reasons"].items())
    lines = {
        "table": info["table"],
        "rows": f"{info['rows']:,} in {counted(info['fragments'], 'fragment')}",
        "version": f"{info['version']} ({info['versions']} kept), changed {changed:%Y-%m-%d %H:%M}",
        "rejects": f"{rejects['total']:,}" + (f" ({reasons})" if reasons else ""),
        "files": f"{info['files']:,} finished{_waiting(**info['waiting'])}",
        "fingerprint": info["fingerprint"],
        "spec": ", ".join(f"{name}={value}" for name, value in info["spec"].items() if value is not None),
        "vector": f"{info['columns']['vector']}, halves {info['halves'][0]} + {info['halves'][1]}",
        "reader": ", ".join(f"{name}={_option(value)}" for name, value in reader.items()),
        "columns": ", ".join(info["columns"]),
        "indexes": "none (moee index)" if not info["indexes"] else _stale(info),
        "topics": _topic_line(info["topics"]),
    }
    if any(index["column"] == "vector" for index in info["indexes"]):
        lines["in lancedb"] = f"search(vector){PLAIN_SEARCH}, or filters lose hits"
    for name, value in lines.items():
        console.print(f"{name:12} {value}", markup=False)
    for index in info["indexes"]:
        console.print(index_line(IndexInfo(**index)), markup=False)
    for run in info["runs"][-5:]:
        console.print(
            f"{'run':12} {run['run']}: {run['status']}, {counted(run['documents'] or 0, 'document')}, "
            f"{counted(run['tokens'] or 0, 'token')}, {counted(run['rejects'] or 0, 'reject')}, "
            f"{run['seconds'] or 0:.1f} s",
            markup=False,
        )


def _stale(info: dict[str, Any]) -> str:
    """How many indexes there are, and what there is to do about them."""
    indexes: list[dict[str, Any]] = info["indexes"]
    parts = [f"{len(indexes)}"]
    if any(not index["is_current"] for index in indexes):
        parts.append("the text index finds no phrases, or no words of scripts without blanks")
    if any(index["missing"] > MAX_TAIL * info["rows"] for index in indexes):
        parts.append("many rows came later and are compared one by one")
    return "; ".join(parts) + (f": moee index {info['table']}" if len(parts) > 1 else "")


def _option(value: Any) -> str:
    return " ".join(value) or "none" if isinstance(value, list) else str(value)


def _waiting(files: int, slices: int) -> str:
    if not files:
        return ""
    return f"; {files:,} changed, {slices:,} of their slices staged (the next run goes on with them)"


def _topic_line(topics: dict[str, Any] | None) -> str:
    if topics is None:
        return "none yet (moee topics fit)"
    found, others = counted(topics["topics"], "topic"), counted(topics["outliers"], "document")
    return f"version {topics['version']}: {found}, {others} in none"


def _show_rejects(console: Console, listed: list[dict[str, Any]], rejects: dict[str, Any], reason: str | None) -> None:
    """How many there are of each reason, then the documents: stage, reason, detail, place."""
    reasons: dict[str, int] = rejects["reasons"]
    total = rejects["total"] if reason is None else reasons.get(reason, 0)
    for name, count in reasons.items():
        console.print(f"{count:>9,}  {name}", markup=False)
    if not reasons:
        console.print("no rejects")
    for reject in listed:
        place = f"{reject['source']}:{reject['row']}" if reject["row"] >= 0 else f"{reject['source']} (slice)"
        detail = f": {reject['detail']}" if reject["detail"] else ""
        console.print(printable(f"{reject['stage']:7} {reject['reason']}{detail}  {place}"), markup=False)
    if total > len(listed):
        console.print(f"… and {total - len(listed):,} more (-n, --reason, --json)")


COMMAND: Final = Command(
    name="inspect",
    help="Show what a table holds: spec, rows, versions, rejects, runs, indexes, topics.",
    configure=configure,
    run=run,
    examples=("moee inspect lake/docs", "moee inspect lake/docs --rejects", "moee inspect lake/docs --watch"),
)
