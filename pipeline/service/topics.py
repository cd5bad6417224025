"""What a service says about topics: the list, one of them, over a column and by a column; and what is kept of it.

An answer that counts documents may take seconds. Such answers are computed one after another in a thread of their own,
so that searches go on, and are kept until the table or its topics change.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow.compute as pc

from pipeline.errors import TopicError, UsageError
from pipeline.topics.versions.load import load_topics
from pipeline.topics.views.by import topics_by
from pipeline.topics.views.history import topic_events, topic_sizes
from pipeline.topics.views.over import topics_over
from pipeline.values import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pipeline.table import VectorTable
    from pipeline.topics.versions.load import Topics, TopicView
    from pipeline.topics.versions.tables import TopicModel

__all__ = ["KeptAnswers", "by_column", "current_model", "members", "over_column", "overview", "topic_detail"]

MAX_MEMBERS: Final = 9_000
"""Rows of a topic that a search is limited to: each is a value to compare with, beside those of other conditions."""
_KEPT: Final = 64
"""Answers; the largest is some hundred kilobytes."""


class KeptAnswers:
    """Answers by their keys, the ones asked for last; what is asked twice at once is computed once."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "topics")
        self._kept: OrderedDict[Hashable, asyncio.Future[Any]] = OrderedDict()

    async def get(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """The answer of this key, from `compute` where there is none yet; what it raises is not kept."""
        kept = self._kept.get(key)
        if kept is None:
            kept = self._kept[key] = asyncio.get_running_loop().run_in_executor(self._thread, compute)
            kept.add_done_callback(lambda done: self._forget_failed(key, done))
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return await asyncio.shield(kept)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _forget_failed(self, key: Hashable, done: asyncio.Future[Any]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._kept.get(key) is done:
            del self._kept[key]


def current_model(table: VectorTable) -> TopicModel | None:
    """The newest topic model of a table; None where there is none, or only one of a table that was here before."""
    try:
        return load_topics(table).model
    except TopicError:
        return None


def overview(topics: Topics, words: int | None) -> dict[str, Any]:
    """The topics, largest first, each with up to so many words, and what changed against the model before."""
    counts = topics.document_counts()
    views = [_view(view) for view in topics.overview(examples=0)]
    return {
        "version": topics.model.version,
        "created": as_json(topics.model.created),
        "documents": counts.documents,
        "outliers": counts.outliers,
        "topics": [{**view, "words": view["words"][:words], "keywords": view["keywords"][:words]} for view in views],
        "events": as_json(topics.events()),
    }


def topic_detail(topics: Topics, topic: int, examples: int) -> dict[str, Any]:
    """A topic with its words, its typical documents, and its history.

    Raises:
        TopicError: there is no such topic.
    """
    view = _view(topics.show(topic, examples))
    history = {"history": as_json(topic_sizes(topics, topic)), "events": as_json(topic_events(topics, topic))}
    return {**_counted(topics), **view, **history}


def members(topics: Topics, topic: int) -> list[str]:
    """The ids of a topic's rows.

    Raises:
        TopicError: there is no such topic.
        UsageError: there are more than a search can be limited to.
    """
    topics.show(topic, 0)
    ids: list[str] = []
    for batch in topics.stream(["id", "topic"]):
        ids += batch.filter(pc.equal(batch.column("topic"), topic)).column("id").to_pylist()
        if len(ids) > MAX_MEMBERS:
            raise UsageError(f"a search is limited to a topic of up to {MAX_MEMBERS:,} rows: this one has more")
    return ids


def over_column(topics: Topics, column: str, bins: int) -> dict[str, Any]:
    """How many documents of each topic fall into each interval, as `topics_over` counts them.

    Raises:
        UsageError, TopicError: as `topics_over` does.
    """
    table = topics_over(topics, column, bins)
    starts = table.column("start").unique()
    counts = table.column("count").to_numpy().reshape(len(starts), -1)
    ids = table.column("topic").to_numpy()[: counts.shape[1]]
    return {
        **_counted(topics),
        "column": column,
        "starts": as_json(starts),
        "documents": counts.sum(axis=1).tolist(),
        "topics": [{"topic": topic, "counts": row} for topic, row in zip(ids.tolist(), counts.T.tolist(), strict=True)],
    }


def by_column(topics: Topics, column: str, most: int) -> dict[str, Any]:
    """The `most` frequent values, each with the topics of its documents, as `topics_by` counts them.

    Raises:
        UsageError, TopicError: as `topics_by` does.
    """
    table = topics_by(topics, column)
    # Rows of one value follow each other.
    values = table.group_by("value", use_threads=False).aggregate([("documents", "max"), ([], "count_all")])
    ends = np.cumsum(values.column("count_all").to_numpy())
    shown = values.slice(0, most)
    groups = zip(as_json(shown.column("value")), shown.column("documents_max").to_pylist(), ends.tolist(), strict=False)
    begin, rows = 0, table.select(["topic", "count", "share", "lift"])
    listed: list[dict[str, Any]] = []
    for value, documents, end in groups:
        listed.append({"value": value, "documents": documents, "topics": as_json(rows.slice(begin, end - begin))})
        begin = end
    left_out = values.num_rows - shown.num_rows
    return {**_counted(topics), "column": column, "values": listed, "left_out": left_out}


def _counted(topics: Topics) -> dict[str, Any]:
    return {"version": topics.model.version, "counted": "chunks" if topics.is_chunked else "documents"}


def _view(view: TopicView) -> dict[str, Any]:
    return as_json(asdict(view))
