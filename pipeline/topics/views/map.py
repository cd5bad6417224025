"""A map of topics: each document is a point near similar ones. Page and picture are made from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableError, UsageError
from pipeline.table.fragments.rows import take_rows
from pipeline.topics.clustering.recipe import SEED_LIMIT
from pipeline.topics.schema import OUTLIER
from pipeline.topics.tensors import read_tensors, write_tensors
from pipeline.topics.views.labels import Region, label_coordinates, regions
from pipeline.topics.views.layout import layout, layout_token
from pipeline.topics.views.sample import draw_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics
    from pipeline.topics.views.sample import Sample
    from pipeline.topics.words.counts import Weighted

__all__ = ["DEFAULT_POINTS", "MapTopic", "TopicMap", "draw_map"]

logger = logging.getLogger(__name__)

DEFAULT_POINTS: Final = 50_000
"""A browser moves this many smoothly on one core of a laptop."""
MAX_POINTS: Final = 500_000
MAX_TEXT_CHARACTERS: Final = 240
"""The beginning of a document that is shown and searched."""


@dataclass(frozen=True, slots=True)
class MapTopic:
    """A topic on a map."""

    topic: int
    """Its id."""
    label: str
    """Its label."""
    words: Weighted
    """Words with their weights, best first."""
    size: int
    """Documents of the topic."""
    shown: int
    """Documents of the topic on the map."""
    x: float
    """Horizontal position of the label."""
    y: float
    """Vertical position of the label."""


@dataclass(frozen=True, slots=True)
class TopicMap:
    """A map of n documents and k topics."""

    title: str
    """Name of the table."""
    version: int
    """The version of the topics."""
    documents: int
    """Documents of the model, on the map or not."""
    outliers: int
    """Those of them in no topic."""
    points: NDArray[np.float32]
    """float32 [n, 2] in the unit square; documents are in hash order."""
    topic: NDArray[np.int64]
    """int64 [n]: position in `topics`; -1: in none."""
    ids: pa.Array
    """string [n]."""
    texts: pa.Array
    """string [n]: beginnings of the documents; empty where they were not asked for."""
    topics: tuple[MapTopic, ...]
    """[k], largest first."""
    regions: tuple[Region, ...]
    """Groups of neighbouring topics."""

    @property
    def label_points(self) -> NDArray[np.float32]:
        """float32 [k, 2]: where the topics' labels stand."""
        return _label_points(self.topics)


def draw_map(
    topics: Topics, points: int = DEFAULT_POINTS, seed: int = 0, *, with_texts: bool = True, keep: bool = True
) -> TopicMap:
    """A map of a topic model with up to `points` documents; a layout that was kept is used again.

    Args:
        topics: the model.
        points: how many documents at most.
        seed: of the layout.
        with_texts: whether the map holds the beginnings of the documents.
        keep: whether a new layout is kept for later maps; nothing is written otherwise.

    Raises:
        UsageError: a number of points that no browser can show, or a seed out of range.
        TopicError: none of the model's documents is in the table any more.
    """
    if not 1 <= points <= MAX_POINTS:
        raise UsageError(f"points={points}: a map shows 1 to {MAX_POINTS:,}")
    if not 0 <= seed < SEED_LIMIT:
        raise UsageError(f"seed={seed}: use 0 or more, below {SEED_LIMIT:,}")
    dataset = topics.tables.vectors()
    sample = draw_sample(topics, dataset, points)
    coordinates = _coordinates(topics, dataset, sample, seed, keep=keep)
    table = topics.topics()
    ids = table.column("topic").to_numpy()
    listed = _map_topics(table, label_coordinates(coordinates, sample.topic, ids), sample)
    if keep:
        _save_coordinates(topics, table, listed)
    rows = take_rows(dataset, sample.rows, ["id", "text"] if with_texts else ["id"])
    texts = rows.column("text").combine_chunks() if with_texts else pa.nulls(rows.num_rows, pa.string())
    sizes = np.array([topic.size for topic in listed], dtype=np.int64)
    return TopicMap(
        title=topics.tables.location.name,
        version=topics.model.version,
        documents=topics.model.documents,
        outliers=topics.model.outliers,
        points=coordinates,
        topic=_positions(sample.topic, np.array([topic.topic for topic in listed], dtype=np.int64)),
        ids=rows.column("id").combine_chunks(),
        texts=_beginnings(texts),
        topics=tuple(listed),
        regions=tuple(regions(_label_points(listed), sizes, [topic.words for topic in listed])),
    )


def _coordinates(
    topics: Topics, dataset: LanceDataset, sample: Sample, seed: int, *, keep: bool
) -> NDArray[np.float32]:
    """Coordinates of the sample, float32 [n, 2]: those that were kept, else a new layout; `keep` it if possible."""
    location, name = topics.tables.location, f"map-{layout_token(sample, topics.model.fingerprint, seed)}"
    try:
        kept = (read_tensors(location, name) or {}).get("points")
        if kept is not None and kept.shape == (len(sample.rows), 2):
            return kept
    except TableError as error:
        logger.warning("drawing the map again: %s", error)
    points = layout(dataset, sample.rows, seed)
    if not keep:
        return points
    try:
        write_tensors(location, name, {"points": points})
    except TableError as error:
        logger.warning("the next map will be drawn again: %s", error)
    return points


def _label_points(listed: Sequence[MapTopic]) -> NDArray[np.float32]:
    return np.array([(topic.x, topic.y) for topic in listed], dtype=np.float32).reshape(-1, 2)


def _save_coordinates(topics: Topics, table: pa.Table, listed: list[MapTopic]) -> None:
    """Store where the topics stand, unless a map with at least as many topics was drawn before."""
    if len(listed) > table.num_rows - table.column("x").null_count:
        try:
            topics.tables.save_coordinates(topics.model, {topic.topic: (topic.x, topic.y) for topic in listed})
        except TableError as error:
            logger.warning("the topics' coordinates could not be kept: %s", error)


def _map_topics(table: pa.Table, points: NDArray[np.float32], sample: Sample) -> list[MapTopic]:
    """The topics that have documents on the map; their labels stand at `points` float32 [topics, 2]."""
    shown = dict(zip(*(column.tolist() for column in np.unique(sample.topic, return_counts=True)), strict=True))
    return [
        MapTopic(
            topic=row["topic"],
            label=row["label"],
            words=tuple(zip(row["words"], row["weights"], strict=True)),
            size=row["size"],
            shown=shown[row["topic"]],
            x=float(x),
            y=float(y),
        )
        for row, (x, y) in zip(table.to_pylist(), points, strict=True)
        if row["topic"] in shown
    ]


def _positions(topic: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Topic ids [n] as positions in `ids` [k]; -1 for ids that are not there."""
    if not len(ids):
        return np.full(len(topic), OUTLIER)
    order = np.argsort(ids)
    at = np.minimum(np.searchsorted(ids[order], topic), len(ids) - 1)
    return np.where(np.isin(topic, ids), order[at], OUTLIER)


def _beginnings(texts: pa.Array) -> pa.Array:
    """The first `MAX_TEXT_CHARACTERS` characters of each text, white space as single blanks; null becomes empty."""
    first = pc.utf8_slice_codeunits(texts.fill_null(""), 0, 4 * MAX_TEXT_CHARACTERS)
    flat = pc.utf8_trim_whitespace(pc.replace_substring_regex(first, r"\s+", " "))
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(flat, 0, MAX_TEXT_CHARACTERS - 1), "…", "")
    return pc.if_else(pc.greater(pc.utf8_length(flat), MAX_TEXT_CHARACTERS), cut, flat)
