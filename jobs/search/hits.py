"""Hits for people: what each is, why it is one, and the place that matched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from jobs.command import printable, snippet

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

__all__ = ["show_facets", "show_hits"]

_INTERNAL: Final = {"id", "text", "doc_id", "hs_norm", "rw_norm", "n_tokens", "truncated", "source", "slice", "row"}
_INDENT: Final = 7
_CELL: Final = 120
"""Columns of the terminal that a value of metadata takes at most."""


def show_hits(console: Console, hits: pa.Table, indent: str = "", *, words: str | None = None) -> None:
    """Two lines a hit: score, id, metadata, what explains the score; the passage that matched, or the beginning.

    Args:
        console: where to.
        hits: of `VectorTable.search`.
        indent: before each line.
        words: the query, whose words are marked.
    """
    from pipeline.values import as_json

    if not hits.num_rows:
        console.print(f"{indent}no document matches")
    for row in as_json(hits):
        console.print(_head(row, indent))
        if row.get("text"):
            room = max(console.width, 80) - len(indent) - _INDENT
            console.print(Text(indent + " " * _INDENT).append_text(_body(row["text"], words, room)))


def _head(row: dict[str, Any], indent: str) -> Text:
    from pipeline.values import as_cell

    shown = [name for name in row if not name.startswith("_") and name not in _INTERNAL and row[name] is not None]
    head = Text(f"{indent}{row['_score']:.3f}  ", style="bold")
    name = row.get("id", "")
    cells = [printable(name), *(snippet(f"{each}={as_cell(row[each])}", _CELL) for each in shown)]
    head.append("  ".join(cells), style="cyan")
    return head.append(_why(row), style="dim")


def _why(row: dict[str, Any]) -> str:
    parts = [f"{name[1:]} {row[name]:.3f}" for name in ("_cos_h", "_cos_r") if row.get(name) is not None]
    for name, kind in (("_vector_rank", "by vector"), ("_text_rank", "by words")):
        if name in row:
            parts.append(f"not found {kind}" if row[name] is None else f"#{row[name]} {kind}")
    return f"  ({', '.join(parts)})" if parts else ""


def _body(text: str, words: str | None, room: int) -> Text:
    """One line, `room` columns wide: the passage with the words of the query marked, or the beginning."""
    if words is None:
        return Text(snippet(text, room))
    from pipeline.table.query.passages import passage, words_of

    found = passage(text, words_of(words), room)
    line = Text(printable(found.text))
    for begin, end in found.marks:
        line.stylize("bold yellow", begin, end)
    line.truncate(room, overflow="ellipsis")
    return line


def show_facets(console: Console, facets: dict[str, pa.Table]) -> None:
    """Each column, then a line for each of its values: how many rows, the value."""
    from pipeline.values import as_cell, as_json

    for name, counts in facets.items():
        console.print(snippet(name, _CELL), style="bold", markup=False)
        if not counts.num_rows:
            console.print("  no row")
        for row in as_json(counts):
            value = "(no value)" if row["value"] is None else snippet(as_cell(row["value"]), _CELL)
            console.print(f"{row['count']:>9,}  {value}", markup=False)
