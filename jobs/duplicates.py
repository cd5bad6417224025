"""``moee search TABLE --duplicates SCORE``: pairs or groups of rows that are nearly the same, over the whole table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from jobs.command import Output, printable, snippet
from pipeline.errors import UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from rich.console import Console

    from pipeline.table import VectorTable

__all__ = ["duplicate_arguments", "show_duplicates"]

_INDENT: Final = 7

_OF_HITS: Final[dict[str, Any]] = {
    **dict.fromkeys(("query", "queries", "like", "unlike", "at", "facets", "columns", "group_by", "min_score")),
    "by_document": False,
    "diversity": 0.0,
    "offset": 0,
    "mode": "vector",
}
"""Arguments of searches for hits, and their values where nobody gave one."""


def duplicate_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `show_duplicates` reads."""
    group = parser.add_argument_group("near-duplicates of the whole table")
    group.add_argument("--duplicates", type=float, metavar="SCORE", help="all pairs of rows that score so much or more")
    group.add_argument("--groups", action="store_true", help="the groups that the pairs connect instead")


def show_duplicates(arguments: argparse.Namespace, output: Output, table: VectorTable, form: str) -> None:
    """Find them and show the first ``-k`` pairs or groups, or write all of them.

    Args:
        arguments: of ``moee search``.
        output: where to.
        table: the table.
        form: how: table, json, or a format of `jobs.search.formats.hit_writer`.
    """
    from jobs.search.formats import hit_writer
    from jobs.topics.fit import mapper_for
    from pipeline.table.duplicates.pairs import EXACT_ROWS
    from pipeline.table.query.grammar import parse_conditions
    from pipeline.table.query.question import check_count
    from pipeline.table.schema import metadata_value

    asked = [name for name, unasked in _OF_HITS.items() if getattr(arguments, name) != unasked]
    if asked:
        name = asked[0] if asked[0] == "query" else f"--{asked[0].replace('_', '-')}"
        raise UsageError(f"search: --duplicates compares the rows of the table with each other: leave out {name}")
    check_count("k", arguments.k, 1)
    with output.following("looking for rows") as progress:
        found = table.duplicates(
            arguments.duplicates,
            groups=arguments.groups,
            alpha=arguments.alpha,
            where=parse_conditions(arguments.where) or None,
            where_sql=arguments.where_sql,
            mapper=mapper_for(table, EXACT_ROWS),
            phase=progress.phase,
        )
    if form not in {"table", "json"}:
        with hit_writer(form, arguments.output) as writer:
            writer.write(found)
        return
    exact, rows = metadata_value(found.schema, "exact") == "true", int(metadata_value(found.schema, "rows") or 0)
    show = _show_groups if arguments.groups else _show_pairs
    show(output.people, table, found, arguments.k)
    compared = "all were compared with each other" if exact else "nearly all pairs were found: docs/reference/search.md"
    output.people.print(f"{_summary(found, groups=arguments.groups)} among {counted(rows, 'row')}; {compared}")
    kind = "groups" if arguments.groups else "pairs"
    output.result({"table": str(table.location), "rows": rows, "exact": exact, kind: found})


def _summary(found: pa.Table, *, groups: bool) -> str:
    if not groups:
        return counted(found.num_rows, "pair")
    kept = sum(found.column("kept").to_pylist())
    return f"{counted(kept, 'group')} of {counted(found.num_rows, 'row')}, {found.num_rows - kept:,} of them not kept,"


def _show_pairs(console: Console, table: VectorTable, found: pa.Table, most: int) -> None:
    shown = found.slice(0, most).to_pylist()
    texts = _texts(table, [pair[end] for pair in shown for end in "ab"])
    for pair in shown:
        console.print(Text(f"{pair['_score']:.3f}", style="bold"))
        for end in "ab":
            _show_row(console, "", pair[end], texts)


def _show_groups(console: Console, table: VectorTable, found: pa.Table, most: int) -> None:
    """The first groups, of each at most as many rows as groups are shown."""
    import pyarrow.compute as pc

    shown = found.filter(pc.less(found.column("group"), most)).to_pylist()
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in shown:
        groups.setdefault(row["group"], []).append(row)
    texts = _texts(table, [row["id"] for rows in groups.values() for row in rows[:most]])
    for rows in groups.values():
        console.print(Text(counted(len(rows), "row"), style="bold"))
        for row in rows[:most]:
            _show_row(console, "kept" if row["kept"] else f"{row['_score']:.3f}", row["id"], texts)
        if len(rows) > most:
            console.print(f"{'':{_INDENT}}… and {len(rows) - most:,} more", style="dim")


def _show_row(console: Console, before: str, name: str, texts: Mapping[str, str | None]) -> None:
    line = Text(f"{before:{_INDENT}}").append(printable(name), style="cyan")
    text = texts.get(name)
    if text:
        line.append("  " + snippet(text, max(max(console.width, 80) - line.cell_len - 2, 20)))
    console.print(line)


def _texts(table: VectorTable, ids: Sequence[str]) -> dict[str, str | None]:
    """The texts of these rows; none where the table stores none."""
    if "text" not in table.schema.names or not ids:
        return {}
    import pyarrow.compute as pc

    from pipeline.table.store import storage_errors

    with storage_errors("read", table.location):
        rows = table.dataset().to_table(columns=["id", "text"], filter=pc.field("id").isin(ids))
    return dict(zip(rows.column("id").to_pylist(), rows.column("text").to_pylist(), strict=True))
