"""A map as pages read it: a head as JSON, points as packed arrays."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.topics.views.colours import colours

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.topics.views.map import TopicMap

__all__ = ["map_head", "map_points"]

PAGE_WORDS: Final = 8
COORDINATE_STEPS: Final = 65_535
"""Coordinates are sent as 16-bit steps: finer than a screen's pixels at any zoom that the page offers."""


def map_head(drawn: TopicMap) -> dict[str, Any]:
    """All but the points and what they are: counts, topics with their colours, regions."""
    light, dark = colours(drawn.label_points, "light"), colours(drawn.label_points, "dark")
    topics = [
        asdict(topic) | {"words": [word for word, _ in topic.words[:PAGE_WORDS]], "light": day, "dark": night}
        for topic, day, night in zip(drawn.topics, light, dark, strict=True)
    ]
    return {
        "title": drawn.title,
        "version": drawn.version,
        "documents": drawn.documents,
        "outliers": drawn.outliers,
        "shown": len(drawn.points),
        "topics": topics,
        "regions": [asdict(region) for region in drawn.regions],
    }


def map_points(drawn: TopicMap) -> tuple[NDArray[np.uint16], NDArray[np.int16]]:
    """Coordinates of each point, uint16 [2, n], and the position of its topic, int16 [n]; both little-endian."""
    steps = np.clip(np.rint(drawn.points.T * COORDINATE_STEPS), 0, COORDINATE_STEPS)
    return np.ascontiguousarray(steps, "<u2"), drawn.topic.astype("<i2")
