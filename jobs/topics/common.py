"""What the actions of ``moee topics`` show: a model and its topics as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.topics import Topics, TopicView

__all__ = ["as_json", "view_json"]


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
    """A model, its largest topics, and its groups of kindred topics if they are many, for ``--json``."""
    from pipeline.topics.views.groups import topic_groups

    model, counted = topics.model, topics.document_counts()
    return {
        "version": model.version,
        "documents": counted.documents,
        "outliers": counted.outliers,
        **({} if counted.chunks is None else {"chunks": counted.chunks}),
        "metrics": dict(model.metrics),
        "count": model.topics,
        "groups": [{"label": group.label, "topics": list(group.topics)} for group in topic_groups(topics.topics())],
        "topics": [view_json(topic) for topic in topics.overview(limit=limit, examples=1)],
    }
