"""Labels on a map: where the label of each topic stands, and the regions of neighbouring topics.

A topic's label stands where its documents are densest; the mean of a topic in two parts would lie in neither. Pure
functions on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.topics.words.counts import Weighted

__all__ = ["Region", "label_coordinates", "regions", "shared_words"]

MAX_COMPARED_MEMBERS: Final = 400
"""Documents of a topic that its label is placed by: all pairs of them are compared."""
BANDWIDTH: Final = 0.02
"""Of the density, in widths of the map."""
MIN_TOPICS_FOR_REGIONS: Final = 30
"""With fewer topics there are no regions."""
REGION_WORDS: Final = 2
"""Words of a region's label."""


@dataclass(frozen=True, slots=True)
class Region:
    """Neighbouring topics with one label."""

    label: str
    """Words that weigh most in its topics."""
    topics: tuple[int, ...]
    """Positions in the list of topics."""
    x: float
    """Horizontal position of the label."""
    y: float
    """Vertical position of the label."""


def label_coordinates(
    points: NDArray[np.float32], topic: NDArray[np.int64], ids: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Where the labels of topics stand.

    Args:
        points: float32 [n, 2], of the documents.
        topic: int64 [n], of the documents.
        ids: int64 [k], of the topics.

    Returns:
        float32 [k, 2]; NaN for a topic without documents.
    """
    coordinates = np.full((len(ids), 2), np.nan, dtype=np.float32)
    for row, name in enumerate(ids):
        members = points[topic == name][:MAX_COMPARED_MEMBERS]
        if len(members):
            apart = ((members[:, None, :] - members[None, :, :]) ** 2).sum(axis=2)
            coordinates[row] = members[np.exp(-apart / (2 * BANDWIDTH**2)).sum(axis=1).argmax()]
    return coordinates


def regions(points: NDArray[np.float32], sizes: NDArray[np.int64], words: Sequence[Weighted]) -> list[Region]:
    """Regions of k topics whose labels stand at `points` float32 [k, 2], by Ward's method."""
    if len(points) < MIN_TOPICS_FOR_REGIONS:
        return []
    from scipy.cluster.hierarchy import fcluster, linkage

    count = round(float(np.sqrt(len(points)))) + 1
    group = fcluster(linkage(points, "ward"), count, criterion="maxclust")
    named: list[Region] = []
    for name in np.unique(group):
        inside = np.flatnonzero(group == name)
        x, y = np.average(points[inside], axis=0, weights=sizes[inside])
        label = " · ".join(shared_words([words[row] for row in inside.tolist()], sizes[inside], REGION_WORDS))
        named.append(Region(label, tuple(inside.tolist()), float(x), float(y)))
    return named


def shared_words(words: Sequence[Weighted], sizes: NDArray[np.int64], count: int) -> list[str]:
    """The `count` words that weigh most in k topics together; a topic counts by the root of its size."""
    total: dict[str, float] = {}
    for weighted, share in zip(words, np.sqrt(sizes).tolist(), strict=True):
        heaviest = max((weight for _, weight in weighted), default=0.0) or 1.0
        for word, weight in weighted:
            total[word] = total.get(word, 0.0) + share * weight / heaviest
    return sorted(total, key=lambda word: (-total[word], word))[:count]
