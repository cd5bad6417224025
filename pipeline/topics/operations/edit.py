"""Changing topics by hand: labels, merging, fewer topics. Each change is a version; ids of other topics stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipeline.errors import TopicError, UsageError
from pipeline.topics.clustering.agglomerate import agglomerate
from pipeline.topics.operations.inherited import TopicRow, parent_of, rows_by_topic
from pipeline.topics.operations.merging import publish_merger
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.rows import label_of
from pipeline.topics.versions.tables import TopicTables

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from pipeline.topics.versions.load import Topics
    from pipeline.topics.versions.tables import Located

__all__ = ["LabelSource", "label_topic", "merge_topics", "reduce_topics", "set_labels"]

LabelSource = Literal["hand", "llm"]


def label_topic(
    table: Located | str | os.PathLike[str],
    topic: int,
    label: str | None,
    *,
    wait: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
) -> Topics:
    """Give a topic a label that is locked: it stays with the topic through every refresh.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        topic: its id.
        label: its name; None: unlock the label and use the topic's words again.
        wait: up to how many seconds to wait for another change of these topics.
        storage_options: for remote storage, when `table` is a string.

    Raises:
        TopicError: there is no such topic.
        LeaseError: these topics are being changed by another process.
        UsageError: the label is empty.
    """
    return set_labels(
        table, {topic: label}, source="hand", locked=label is not None, wait=wait, storage_options=storage_options
    )


def set_labels(
    table: Located | str | os.PathLike[str],
    labels: Mapping[int, str | None],
    *,
    source: LabelSource = "hand",
    locked: bool = True,
    wait: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
) -> Topics:
    """Label several topics in one version; nothing is written where nothing changes.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        labels: topic → label; None: its words.
        source: who made the labels; a language model does not change locked labels.
        locked: whether only a hand may change them afterwards.
        wait: up to how many seconds to wait for another change of these topics.
        storage_options: for remote storage, when `table` is a string.

    Raises:
        TopicError: there is no such topic.
        LeaseError: these topics are being changed by another process.
        UsageError: a label is empty.
    """
    given = {topic: None if label is None else _cleaned(label) for topic, label in labels.items()}
    tables = TopicTables.of(table, storage_options)
    with topic_lease(tables, wait) as lease:
        params = {"labels": {str(topic): label for topic, label in given.items()}, "source": source, "locked": locked}
        step = NextVersion.begin(tables, lease, "label", params=params)
        parent, rows = parent_of(step), rows_by_topic(parent_of(step))
        _check(parent, rows, given)
        changed = {
            topic: row
            for topic, label in given.items()
            if (row := _labelled(rows[topic], label, source, locked=locked)) != rows[topic]
        }
        if not changed:
            return parent
        model = parent.model
        return step.publish(
            topics=list((rows | changed).values()),
            events=[],
            documents=model.documents,
            outliers=model.outliers,
            unused=model.unused,
            metrics=model.metrics,
        )


def merge_topics(
    table: Located | str | os.PathLike[str],
    topics: Sequence[int],
    *,
    wait: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
) -> Topics:
    """Merge topics into the first of them, which keeps its id and its given label.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        topics: two or more ids.
        wait: up to how many seconds to wait for another change of these topics.
        storage_options: for remote storage, when `table` is a string.

    Raises:
        TopicError: there is no such topic.
        LeaseError: these topics are being changed by another process.
        UsageError: fewer than two topics.
    """
    target, *parts = dict.fromkeys(topics) if topics else [0]
    if not parts:
        raise UsageError("merging takes two topics or more: the one that goes on, then those that become part of it")
    tables = TopicTables.of(table, storage_options)
    with topic_lease(tables, wait) as lease:
        step = NextVersion.begin(tables, lease, "merge", params={"topics": [target, *parts]})
        _check(parent_of(step), rows_by_topic(parent_of(step)), topics)
        return publish_merger(step, dict.fromkeys(parts, target))


def reduce_topics(
    table: Located | str | os.PathLike[str],
    to: int,
    *,
    wait: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
) -> Topics:
    """Merge topics, small and near ones first, until `to` are left; topics with locked labels stay.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        to: how many topics are left.
        wait: up to how many seconds to wait for another change of these topics.
        storage_options: for remote storage, when `table` is a string.

    Raises:
        TopicError: there are no topics.
        LeaseError: these topics are being changed by another process.
        UsageError: there are not more than `to` topics, or more of them have locked labels.
    """
    tables = TopicTables.of(table, storage_options)
    with topic_lease(tables, wait) as lease:
        step = NextVersion.begin(tables, lease, "reduce", params={"to": to})
        parent = parent_of(step)
        if not 1 <= to < parent.model.topics:
            raise UsageError(f"there are {parent.model.topics} topics: reduce them to 1 or more, and fewer than that")
        rows, geometry = rows_by_topic(parent), parent.geometry()
        sizes = np.array([row["size"] for row in rows.values()], dtype=np.int64)
        locked = np.array([row["label_locked"] for row in rows.values()], dtype=bool)
        left = geometry.ids[agglomerate(geometry.centroids, sizes, to, locked)].tolist()
        pairs = zip(geometry.ids.tolist(), left, strict=True)
        return publish_merger(step, {topic: target for topic, target in pairs if topic != target})


def _cleaned(label: str) -> str:
    text = " ".join(label.split())
    if not text:
        raise UsageError("a label needs some text (without one, a topic is called by its words)")
    return text


def _labelled(row: TopicRow, label: str | None, source: LabelSource, *, locked: bool) -> TopicRow:
    if row["label_locked"] and source != "hand":
        return row
    if label is None:
        words = tuple(zip(row["words"], row["weights"], strict=True))
        return {**row, "label": label_of(words), "label_source": "words", "label_locked": False}
    return {**row, "label": label, "label_source": source, "label_locked": locked}


def _check(topics: Topics, rows: Mapping[int, TopicRow], asked: Mapping[int, Any] | Sequence[int]) -> None:
    missing = [topic for topic in asked if topic not in rows]
    if missing:
        raise TopicError(
            f"model {topics.model.version} of {topics.tables.location} has no topic {missing[0]}; it has {list(rows)}"
        )
