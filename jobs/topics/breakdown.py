"""Topics broken down for a terminal: over time, by metadata, as a tree, and from version to version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.text import Text
from rich.tree import Tree

from jobs.command import printable, snippet
from pipeline.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray
    from rich.console import Console

    from pipeline.topics import Topics

__all__ = ["show_breakdown", "show_by", "show_history", "show_over", "show_threshold", "show_tree", "sparkline"]

BARS: Final = " ▁▂▃▄▅▆▇█"
BEST: Final = 3
"""Topics that are printed for each value; --json holds all."""
NEAR: Final = 0.85
"""Nodes that join at this share of their parent's height or above are printed as one with it."""


def show_breakdown(console: Console, topics: Topics, arguments: argparse.Namespace) -> dict[str, Any]:
    """What ``moee topics show`` was asked for, printed; returns what ``--json`` prints, which holds all of it."""
    from pipeline.topics.views import hierarchy, topics_by, topics_over

    result: dict[str, Any] = {"version": topics.model.version}
    if arguments.over:
        table = topics_over(topics, arguments.over, arguments.bins, mad=arguments.mad)
        show_over(console, topics, table, arguments.over, arguments.limit)
        return result | {"column": arguments.over, "rows": table}
    if arguments.by:
        table = topics_by(topics, arguments.by, mad=arguments.mad)
        show_by(console, topics, table, arguments.by, arguments.limit)
        return result | {"column": arguments.by, "rows": table}
    if arguments.tree:
        table = hierarchy(topics)
        show_tree(console, table)
        return result | {"nodes": table}
    history = topic_history(topics)
    show_history(console, history, labels_of(topics))
    return result | {"versions": history}


def topic_history(topics: Topics) -> list[dict[str, Any]]:
    """The versions up to this one, oldest first, each with its events."""
    from pipeline.topics import Topics

    models = [model for model in topics.tables.models() if model.version <= topics.model.version]
    fields = ("version", "kind", "parent", "base", "created", "documents", "topics", "outliers", "metrics", "drift")
    told = ["event", "topic", "other", "overlap", "score"]
    return [
        {name: getattr(model, name) for name in fields}
        | {"events": Topics(topics.tables, model).events().select(told).to_pylist()}
        for model in models
    ]


def show_threshold(console: Console, topics: Topics, mad: float, limit: int) -> dict[str, Any]:
    """Sizes of the `limit` largest topics, and outliers, as another threshold has them; returns those of all topics."""
    found = topics.document_topics(mad) if topics.is_chunked else topics.assignments(["topic"], mad)
    counts = found.group_by("topic").aggregate([([], "count_all")]).select(["topic", "count_all"])
    sizes: dict[int, int] = dict(zip(*(column.to_pylist() for column in counts.columns), strict=True))
    documents, outliers = sum(sizes.values()), sizes.get(-1, 0)
    console.print(
        f"{counted(topics.model.topics, 'topic')} over {counted(documents, 'document')}, {outliers:,} in none "
        f"({100 * outliers / max(documents, 1):.0f} %) at median - {mad:g} x MAD; version {topics.model.version}"
    )
    listed = topics.overview(examples=0)
    for topic in listed[:limit]:
        size = sizes.get(topic.topic, 0)
        line = Text(f"{topic.topic:>5}  {size:>7,}  ", style="bold").append(f"{size - topic.size:+8,}  ", style="dim")
        console.print(line.append(snippet(topic.label, 60), style="cyan"))
    rows = [{"topic": topic.topic, "label": topic.label, "size": sizes.get(topic.topic, 0)} for topic in listed]
    result = {"version": topics.model.version, "mad": mad, "documents": documents, "outliers": outliers}
    return result | {"topics": rows}


def sparkline(values: NDArray[np.float64]) -> str:
    """A bar for each of `values` [n] ≥ 0, as high as its share of the largest; blank where it is 0."""
    top = values.max(initial=0)
    return (
        "".join(BARS[i] for i in np.ceil(values / top * (len(BARS) - 1)).astype(int)) if top > 0 else " " * len(values)
    )


def show_over(console: Console, topics: Topics, table: pa.Table, column: str, limit: int) -> None:
    """A line of bars for each of the `limit` largest topics: its share, interval by interval."""
    starts = table.column("start").unique()
    names = _interval_names(starts)
    documents = table.column("documents").to_numpy().reshape(len(starts), -1)[:, 0]
    shares = table.column("share").to_numpy().reshape(len(starts), -1)
    width = max(len(starts), 5)
    console.print(
        f"{documents.sum():,} of {topics.model.documents:,} documents have a time in {column}: "
        f"{len(starts)} intervals from {names[0]} to {names[-1]}",
        markup=False,
    )
    console.print(Text(f"{'documents':>14}  {sparkline(documents.astype(float)):{width}}  {documents.max():,} at most"))
    # By id: the overview of chunked documents comes in the order of whole documents, the shares in that of chunks.
    place = {topic: index for index, topic in enumerate(table.column("topic").to_pylist()[: shares.shape[1]])}
    for topic in topics.overview(limit=limit, examples=0):
        share = shares[:, place[topic.topic]]
        peak = f"{100 * share.max():5.1f} % in {names[int(share.argmax())]}" if share.max() > 0 else "none has a time"
        line = Text(f"{topic.topic:>5}  {topic.size:>7,}  ", style="bold")
        line.append(f"{sparkline(share):{width}}  ", style="cyan").append(f"{peak:24}", style="dim")
        console.print(line.append(snippet(topic.label, max(console.width - len(line), 20))))


def _interval_names(starts: pa.Array | pa.ChunkedArray) -> list[str]:
    """Beginnings of intervals, as short as they can be."""
    from pipeline.values import as_cell

    names = [as_cell(start) for start in starts]
    for rest in ("-01-01T00:00:00Z", "-01T00:00:00Z", "T00:00:00Z", ":00Z"):
        if all(name.endswith(rest) for name in names):
            names = [name.removesuffix(rest) for name in names]
            break
    return [name.replace("T", " ") for name in names]


def show_by(console: Console, topics: Topics, table: pa.Table, column: str, limit: int) -> None:
    """The `limit` most frequent values, each with the topics that are most over-represented in it."""
    from pipeline.values import as_cell

    labels = labels_of(topics)
    console.print(
        f"documents with each {column}; below it documents, share, times the usual share",
        style="dim",
        markup=False,
    )
    values = table.group_by("value", use_threads=False).aggregate([("documents", "max")]).slice(0, limit)
    for value, documents in zip(values.column(0), values.column(1).to_pylist(), strict=True):
        console.print(Text(f"{documents:>9,}  {snippet(as_cell(value), 60)}", style="bold"))
        rows = [row for row in _rows_of(table, value) if row["topic"] >= 0]
        for row in sorted(rows, key=lambda row: -row["share"] * np.log(row["lift"]))[:BEST]:
            if row["lift"] > 1:
                line = Text(
                    f"{row['count']:>16,}  {100 * row['share']:5.1f} %  {row['lift']:6.1f} times  ", style="dim"
                )
                console.print(line.append(f"{row['topic']} {snippet(labels[row['topic']], 32)}", style="cyan"))


def _rows_of(table: pa.Table, value: pa.Scalar) -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    return table.filter(pc.equal(table.column("value"), value)).drop_columns("value").to_pylist()


def show_tree(console: Console, table: pa.Table) -> None:
    """Topics and what joins them; joins at nearly the same height are printed as one."""
    nodes: dict[int, dict[str, Any]] = {row["node"]: row for row in table.to_pylist()}
    children: dict[int | None, list[int]] = {}
    for node in sorted(nodes.values(), key=lambda row: -row["size"]):
        children.setdefault(node["parent"], []).append(node["node"])

    def grow(branch: Tree, node: int, height: float) -> None:
        for child in children.get(node, []):
            row = nodes[child]
            if child in children and row["height"] >= NEAR * height:
                grow(branch, child, height)
            else:
                grow(branch.add(_node_text(row, leaf=child not in children)), child, row["height"])

    (root,) = children[None]
    tree = Tree(_node_text(nodes[root], leaf=root not in children), guide_style="dim")
    grow(tree, root, nodes[root]["height"])
    console.print(tree)


def _node_text(row: dict[str, Any], *, leaf: bool) -> Text:
    if leaf:
        return (
            Text(f"{row['node']} ", style="bold")
            .append(printable(row["label"]), "cyan")
            .append(f"  {row['size']:,}", "dim")
        )
    return Text(printable(", ".join(row["words"]))).append(f"  {row['size']:,} in {len(row['topics'])}", "dim")


def show_history(console: Console, history: Sequence[dict[str, Any]], labels: dict[int, str]) -> None:
    """A line for each version, and below it what happened to topics, continued ones apart."""
    for entry in history:
        outside = 100 * entry["outliers"] / max(entry["documents"], 1)
        console.print(
            Text(f"version {entry['version']:<4}", style="bold").append(
                f"{entry['created']:%Y-%m-%d %H:%M}  {entry['kind']:7} {entry['documents']:>9,} documents"
                f"  {entry['topics']:>4} topics  {outside:3.0f} % in none"
            )
        )
        events = [event for event in entry["events"] if event["event"] != "continued"]
        for kind in dict.fromkeys(event["event"] for event in events):
            found = [event for event in events if event["event"] == kind]
            console.print(Text(f"{'':13}{kind:10}{_event_text(found, labels)}", style="dim"))


def _event_text(events: Sequence[dict[str, Any]], labels: dict[int, str], most: int = 6) -> str:
    named = [
        f"{event['topic']}"
        + (f" → {event['other']}" if event["other"] is not None else "")
        + (f" ({snippet(labels[event['topic']], 30)})" if event["topic"] in labels else "")
        for event in events[:most]
    ]
    more = f" and {len(events) - most} more" if len(events) > most else ""
    return "; ".join(named) + more


def labels_of(topics: Topics) -> dict[int, str]:
    """Topic → label."""
    table = topics.topics()
    return dict(zip(table.column("topic").to_pylist(), table.column("label").to_pylist(), strict=True))
