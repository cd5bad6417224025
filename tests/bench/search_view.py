"""What `search.py` has measured, beside what is wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    Row = tuple[str, dict[str, float], float | None, float | None]
    """Name, figures, least recall, most milliseconds."""

ERROR = 2e-4
"""By which a score may differ from that of float32 vectors."""
PLAIN, OTHER_ALPHA, FILTERED = (0.98, 20.0), (0.97, None), (0.99, 60.0)
"""Least recall@10, and median milliseconds at most."""
GROWN, COPIES = 0.97, 0.95


def wanted(setting: str) -> tuple[float, float | None]:
    if setting.startswith("plain"):
        return PLAIN
    return OTHER_ALPHA if setting.startswith("alpha") else FILTERED


def show(results: dict[str, dict[str, Any]]) -> None:
    """A table of all figures, and a sentence for each that stands alone."""
    view = Table(box=None)
    for column in ("", "recall@10", "wanted", "p50 ms", "wanted", "p95 ms", "error of scores"):
        view.add_column(column, justify="right" if column else "left")
    for name, found, recall, limit in rows(results):
        times = [f"{found[key]:.1f}" if key in found else "" for key in ("p50", "p95")]
        view.add_row(
            name,
            f"{found['recall']:.4f}",
            f"{recall:.2f}" if recall else "",
            times[0],
            f"{limit:g}" if limit else "",
            times[1],
            f"{found['error']:.0e}" if "error" in found else "",
        )
    console = Console(width=120, highlight=False)
    console.print(view)
    for line in sentences(results):
        console.print(line)


def rows(results: dict[str, dict[str, Any]]) -> Iterator[Row]:
    for size, found in results.get("exact", {}).items():
        yield f"exact, {size}, {found['bytes'] / 1e6:.0f} MB", found, None, None
    table = results.get("table", {"settings": {}, "raw": {}})
    for name, found in table["settings"].items():
        yield f"table, {name}", found, *wanted(name)
    for name, recall in table["raw"].items():
        yield f"table, {name}, codes alone", {"recall": recall}, None, None
    for name, found in results.get("grown", {}).get("settings", {}).items():
        yield f"grown, {name}", found, GROWN, None
    for texts, measured in results.get("mini", {}).items():
        for name, found in measured["settings"].items():
            yield f"{texts}, {name}", found, *wanted(name)
    if "duplicates" in results:
        yield "planted near copies", results["duplicates"], COPIES, None


def sentences(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    if table := results.get("table"):
        index, error = table["index"], max(table["float_error"].values())
        yield f"written in {table['write_seconds']:,.0f} s"
        yield f"moee index: {index['seconds']:,.0f} s, {gigabytes(index)}; searching: {gigabytes(table)}"
        advice = "; ".join(table["check"]["said"]["advice"]) or "nothing to change"
        yield f"moee index --check: {table['check']['seconds']:,.0f} s, {gigabytes(table['check'])}: {advice}"
        yield f"scores differ from those of float32 vectors by {error:.0e} at most (wanted: {ERROR:.0e})"
    if found := results.get("duplicates"):
        yield f"near copies: {found['seconds']:,.0f} s, {gigabytes(found)}, {found['pairs']:,} pairs"
    if grown := results.get("grown"):
        upkeep, adding = grown["upkeep_seconds"], grown["adding_seconds"]
        yield f"grown: commits {adding:,.0f} s, upkeep {upkeep:,.0f} s, {upkeep / (upkeep + adding):.0%} of both"
        yield f"longest upkeep after a commit: {grown['longest_upkeep_seconds']:,.0f} s"
    for texts, measured in results.get("mini", {}).items():
        yield f"{texts}: {measured['rows']:,} rows of {measured['dim']} dimensions"


def gigabytes(figures: dict[str, float]) -> str:
    return f"{figures['peak_bytes'] / 1e9:.1f} GB at most"
