"""``moee evaluate --table``: which half and which α of a table's vectors to use, from the stored halves alone."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from pipeline.errors import UsageError
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse

    from rich.console import Console

    from jobs.command import Output
    from pipeline.embedding.ablation import Ablation

__all__ = ["evaluate_table"]

BAR: Final = 30
"""Characters of the longest bar; an empty one is chance."""


def evaluate_table(arguments: argparse.Namespace, output: Output, storage_options: dict[str, str] | None) -> None:
    """Measure, show a table of the ways, name the best one; draw a picture where one is asked for."""
    from pipeline.table import VectorTable

    if not arguments.truth:
        raise UsageError("evaluate --table: name the column with the labels: --truth COLUMN")
    opened = VectorTable.open(arguments.table, storage_options)
    with output.following("measuring"):
        found = opened.ablate(arguments.truth, **({} if arguments.limit is None else {"rows": arguments.limit}))
    _show(output.people, found)
    if arguments.picture:
        _draw(found, arguments.picture)
        output.people.print(f"picture: {arguments.picture}", markup=False)
    output.result(_as_json(found))


def _as_json(found: Ablation) -> dict[str, Any]:
    ways = [{"name": way.name, **asdict(way)} for way in found.ways]
    named = {"used": found.used.name, "best": found.best.name, "is_better": found.is_better}
    return {"ways": ways, **named, "chance": found.chance, "queries": found.queries, "documents": found.documents}


def _show(console: Console, found: Ablation) -> None:
    view = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("combine", "P@10", "against the table's own", ""):
        view.add_column(name, no_wrap=True)
    for way in found.ways:
        is_used = way.name == found.used.name
        gain = "the table's own" if is_used else f"{way.gain:+.3f} ± {way.margin:.3f}"
        share = max(way.precision - found.chance, 0.0) / max(found.best.precision - found.chance, 1e-9)
        view.add_row(
            way.name,
            f"{way.precision:.3f}",
            gain,
            "▇" * round(BAR * share),
            style="bold" if way.name == found.best.name else None,
        )
    console.print(view, soft_wrap=False)
    console.print(
        f"{found.queries:,} queries among {counted(found.documents, 'row')}; neighbours at random: {found.chance:.3f}",
        style="dim",
    )
    console.print(_advice(found), markup=False)


def _advice(found: Ablation) -> str:
    best, used = found.best, found.used
    if best.name == used.name:
        return f"the table's own way, {used.name}, is the best"
    if not found.is_better:
        return f"{best.name} is highest, but not above {used.name} by more than the noise: keep the table as it is"
    gain = f"{best.name} is better than {used.name} by {best.gain:.3f} ± {best.margin:.3f}"
    if best.alpha is not None and used.combine == "sum":
        return f"{gain}: search with --alpha {best.alpha:g}, or embed a table with it"
    if best.combine == "hs" and used.combine == "sum":
        return f"{gain}: search with --alpha 0, or embed a table with --combine hs"
    return f"{gain}: embed a table with --combine {best.combine}"


def _draw(found: Ablation, path: str) -> None:
    if find_spec("matplotlib") is None:
        raise UsageError("a picture needs matplotlib: pip install 'moee-pipeline[viz]'")
    from matplotlib.figure import Figure

    figure = Figure((8.0, 5.0), dpi=160, layout="constrained")
    axes: Any = figure.add_subplot()
    sums = [way for way in found.ways if way.alpha is not None]
    axes.errorbar(
        [way.alpha for way in sums], [way.precision for way in sums], [way.margin for way in sums],
        marker="o", capsize=3, label="sum, by alpha",
    )  # fmt: skip
    for way, style in zip((way for way in found.ways if way.alpha is None), ("--", ":", "-."), strict=False):
        axes.axhline(way.precision, linestyle=style, color="gray", label=way.name)
    axes.set(xscale="log", xlabel=f"alpha; bars: 95 % of the difference from {found.used.name}", ylabel="precision@10")
    axes.set_xticks([way.alpha for way in sums], [f"{way.alpha:g}" for way in sums], minor=False)
    axes.minorticks_off()
    axes.legend()
    try:
        figure.savefig(path)
    except ValueError as error:
        raise UsageError(f"--picture {path}: {error}") from error
