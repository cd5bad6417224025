"""A map: each document a point, near its kin, in the colour of its topic. Page and picture are made from it."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TableError, UsageError
from pipeline.topics.clustering.recipe import MOST_SEED
from pipeline.topics.versions.artefact import read_tensors, write_tensors
from pipeline.topics.views.layout import layout, layout_token
from pipeline.topics.views.places import Region, label_places, regions
from pipeline.topics.views.sample import draw_sample

if TYPE_CHECKING:
    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics
    from pipeline.topics.views.places import Weighted
    from pipeline.topics.views.sample import Sample

__all__ = ["POINTS", "MapTopic", "TopicMap", "draw_map"]

logger = logging.getLogger(__name__)

POINTS: Final = 50_000
"""What a browser moves smoothly on a laptop's one core."""
MOST_POINTS: Final = 500_000
BEGINNING: Final = 240
"""Characters of a document that are shown, and searched."""


@dataclass(frozen=True, slots=True)
class MapTopic:
    """A topic on a map; its label stands at (x, y), `size` is that of the model and `shown` what the map holds."""

    topic: int
    label: str
    words: Weighted
    size: int
    shown: int
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class TopicMap:
    """n points in hash order: `points` float32 [n, 2] in the unit square, `ids` and `texts` string [n].

    `topic` int64 [n] holds positions in `topics`, largest topic first; -1 for documents in none.
    """

    title: str
    version: int
    documents: int
    outliers: int
    points: NDArray[np.float32]
    topic: NDArray[np.int64]
    ids: pa.Array
    texts: pa.Array
    topics: tuple[MapTopic, ...]
    regions: tuple[Region, ...]

    @property
    def places(self) -> NDArray[np.float32]:
        """float32 [k, 2]: where the topics' labels stand."""
        return np.array([(topic.x, topic.y) for topic in self.topics], dtype=np.float32).reshape(-1, 2)


def draw_map(topics: Topics, points: int = POINTS, seed: int = 0) -> TopicMap:
    """Lay out a map of a topic model, of at most `points` documents; or find it laid out already.

    Raises:
        UsageError: so many points no browser carries.
        TopicError: none of the model's documents is in the table any more.
    """
    if not 1 <= points <= MOST_POINTS:
        raise UsageError(f"points={points}: a map shows 1 to {MOST_POINTS:,}")
    if not 0 <= seed < MOST_SEED:
        raise UsageError(f"seed={seed}: use 0 or more, below {MOST_SEED:,}")
    dataset = topics.tables.vectors()
    sample = draw_sample(topics, dataset, points)
    coordinates = _coordinates(topics, dataset, sample, seed)
    table = topics.topics()
    ids = table.column("topic").to_numpy()
    listed = _map_topics(table, label_places(coordinates, sample.topic, ids), sample)
    _note_places(topics, table, listed)
    text = dataset.take(pa.array(sample.rows), columns=["id", "text"])
    places = np.array([(topic.x, topic.y) for topic in listed], dtype=np.float32).reshape(-1, 2)
    sizes = np.array([topic.size for topic in listed], dtype=np.int64)
    return TopicMap(
        title=topics.tables.location.name,
        version=topics.model.version,
        documents=topics.model.documents,
        outliers=topics.model.outliers,
        points=coordinates,
        topic=_positions(sample.topic, np.array([topic.topic for topic in listed], dtype=np.int64)),
        ids=_flat(text.column("id")),
        texts=_beginnings(_flat(text.column("text"))),
        topics=tuple(listed),
        regions=tuple(regions(places, sizes, [topic.words for topic in listed])),
    )


def _coordinates(topics: Topics, dataset: LanceDataset, sample: Sample, seed: int) -> NDArray[np.float32]:
    """float32 [n, 2]: kept ones, else laid out and kept; a map that cannot be kept is drawn all the same."""
    location, name = topics.tables.location, f"map-{layout_token(sample, topics.model.fingerprint, seed)}"
    try:
        kept = (read_tensors(location, name) or {}).get("points")
        if kept is not None and kept.shape == (len(sample.rows), 2):
            return kept
    except TableError as error:
        logger.warning("drawing the map anew: %s", error)
    points = layout(dataset, sample.rows, seed)
    try:
        write_tensors(location, name, {"points": points})
    except TableError as error:
        logger.warning("the next map will be drawn anew: %s", error)
    return points


def _note_places(topics: Topics, table: pa.Table, listed: list[MapTopic]) -> None:
    """Write down where the topics stand, unless a map that shows as many of them was drawn before."""
    if len(listed) > table.num_rows - table.column("x").null_count:
        try:
            topics.tables.place(topics.model, {topic.topic: (topic.x, topic.y) for topic in listed})
        except TableError as error:
            logger.warning("the topics' places could not be kept: %s", error)


def _map_topics(table: pa.Table, places: NDArray[np.float32], sample: Sample) -> list[MapTopic]:
    """The topics that have documents on the map."""
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
        for row, (x, y) in zip(table.to_pylist(), places, strict=True)
        if row["topic"] in shown
    ]


def _positions(topic: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Topic ids [n] as positions in `ids` [k]; -1 for those that are not among them."""
    order = np.argsort(ids)
    place = np.minimum(np.searchsorted(ids[order], topic), max(len(ids) - 1, 0))
    return np.where(np.isin(topic, ids), order[place] if len(ids) else -1, -1)


def _beginnings(texts: pa.Array) -> pa.Array:
    """The first `BEGINNING` characters of string [n], white space as single blanks; nulls become empty."""
    first = pc.utf8_slice_codeunits(texts.fill_null(""), 0, 4 * BEGINNING)
    flat = pc.utf8_trim_whitespace(pc.replace_substring_regex(first, r"\s+", " "))
    cut = pc.binary_join_element_wise(pc.utf8_slice_codeunits(flat, 0, BEGINNING - 1), "…", "")
    return pc.if_else(pc.greater(pc.utf8_length(flat), BEGINNING), cut, flat)


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
