"""``moee index --check``: whether the indexes find what exact search finds, how fast, and what to change."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from pipeline.wording import counted

if TYPE_CHECKING:
    from rich.console import Console

    from jobs.command import Output
    from pipeline.table import VectorTable
    from pipeline.table.indexes.check import IndexCheck

__all__ = ["check_table"]


def check_table(table: VectorTable, output: Output) -> None:
    """Measure, show, and say what to change."""
    with output.following("comparing with exact search"):
        found = table.check_indexes()
    _show(output.people, found)
    output.result({**asdict(found), "unindexed": found.unindexed, "advice": list(found.advice)})


def _show(console: Console, found: IndexCheck) -> None:
    view = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "recall@10", "p50 ms", "p95 ms"):
        view.add_column(name, no_wrap=True, justify="right" if name else "left")
    for each in found.measured:
        view.add_row(each.name, f"{each.recall:.3f}", f"{each.p50_ms:.1f}", f"{each.p95_ms:.1f}")
    console.print(view, soft_wrap=False)
    index = found.vector_index
    compared = (
        "every row is compared" if index is None else f"{index.kind}, {found.unindexed:.1%} of the rows not in it"
    )
    console.print(f"{found.queries} of {counted(found.rows, 'row')} as queries; {compared}", style="dim")
    for line in found.advice or ("nothing to change",):
        console.print(line, markup=False)
