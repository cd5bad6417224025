"""What the actions of ``moee topics`` share: naming a table, and a model as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.command import parse_pairs

if TYPE_CHECKING:
    import argparse

    from pipeline.topics import Topics, TopicView

__all__ = ["as_json", "storage_options", "table_arguments", "view_json"]


def table_arguments(parser: argparse.ArgumentParser) -> None:
    """The table, and how to reach it: arguments of every action."""
    parser.add_argument("table", metavar="DIR/NAME")
    parser.add_argument(
        "--storage-option", action="append", default=[], metavar="NAME=VALUE", help="for object storage"
    )


def storage_options(arguments: argparse.Namespace) -> dict[str, str] | None:
    """What `table_arguments` was told of the storage."""
    return parse_pairs(arguments.storage_option, "--storage-option") or None


def view_json(topic: TopicView) -> dict[str, Any]:
    """A topic, for ``--json``."""
    return {
        "topic": topic.topic,
        "label": topic.label,
        "size": topic.size,
        "share": topic.share,
        "words": [{"word": word, "weight": weight} for word, weight in topic.words],
        "keywords": list(topic.keywords),
        "examples": [{"id": example.id, "text": example.text} for example in topic.examples],
    }


def as_json(topics: Topics, limit: int) -> dict[str, Any]:
    """A model and its largest topics, for ``--json``."""
    model, extent = topics.model, topics.extent()
    return {
        "version": model.version,
        "documents": extent.documents,
        "outliers": extent.outliers,
        **({} if extent.chunks is None else {"chunks": extent.chunks}),
        "metrics": dict(model.metrics),
        "count": model.topics,
        "topics": [view_json(topic) for topic in topics.overview(limit=limit, examples=1)],
    }
