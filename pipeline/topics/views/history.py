"""What became of one topic from version to version: its sizes, and what happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.table.store import storage_errors
from pipeline.topics.schema import MODELS

if TYPE_CHECKING:
    from pipeline.topics.schema import Companion
    from pipeline.topics.versions.load import Topics

__all__ = ["topic_events", "topic_sizes"]


def topic_sizes(topics: Topics, topic: int) -> pa.Table:
    """A row for each version up to this one that has the topic, oldest first.

    Returns:
        `version` int64, `kind` string (what made it), `created` timestamp[us, UTC], `size` int64 rows of the table,
        which are documents or chunks, and `label` string.
    """
    rows = _rows(topics, "topics", pc.field("topic") == topic, ["size", "label"])
    return rows.select(["version", "kind", "created", "size", "label"])


def topic_events(topics: Topics, topic: int) -> pa.Table:
    """What happened to the topic, and to others with it, up to this version, oldest first.

    Returns:
        `version` int64, `event` string and `topic`, `other` int64 as in ``NAME.topic_events``.
    """
    concerned = (pc.field("topic") == topic) | (pc.field("other") == topic)
    rows = _rows(topics, "topic_events", concerned, ["event", "topic", "other"])
    return rows.select(["version", "event", "topic", "other"])


def _rows(topics: Topics, kind: Companion, condition: pc.Expression, columns: list[str]) -> pa.Table:
    """The `columns` of the rows under a condition in all versions up to this one, with what made their versions."""
    dataset = topics.tables.of_model(kind, topics.model)
    with storage_errors("read", topics.tables.location.sibling(kind)):
        rows = dataset.to_table(columns=["version", "model", *columns], filter=condition)
    fields = ["version", "model", "kind", "created"]
    schema = pa.schema([MODELS.field(name) for name in fields])
    until = [model for model in topics.tables.models() if model.version <= topics.model.version]
    made: list[dict[str, Any]] = [{name: getattr(model, name) for name in fields} for model in until]
    joined = rows.join(pa.Table.from_pylist(made, schema=schema), ["version", "model"], join_type="inner")
    return joined.sort_by([("version", "ascending"), *([("topic", "ascending")] if "topic" in columns else [])])
