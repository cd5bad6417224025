"""What is written on a map, and where: a label on each topic, and on each region of neighbouring topics.

A topic's label stands where its documents are densest: the mean of a topic in two parts lies in neither. Pure
functions on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Region", "Weighted", "label_places", "regions", "shared_words"]

MEMBERS: Final = 400
"""Documents of a topic that its place is found from: pairs of them are compared."""
BANDWIDTH: Final = 0.02
"""In widths of the map."""
FEWEST_TOPICS: Final = 30
"""With fewer topics the topics are the regions."""
REGION_WORDS: Final = 2

Weighted = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Region:
    """Neighbouring topics under one name: `topics` are positions in the list of topics, (x, y) the label's place."""

    label: str
    topics: tuple[int, ...]
    x: float
    y: float


def label_places(points: NDArray[np.float32], topic: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """Place float32 [k, 2] of each topic of `ids` [k] among `points` [n, 2] of `topic` [n]; NaN without documents."""
    places = np.full((len(ids), 2), np.nan, dtype=np.float32)
    for row, name in enumerate(ids):
        members = points[topic == name][:MEMBERS]
        if len(members):
            apart = ((members[:, None, :] - members[None, :, :]) ** 2).sum(axis=2)
            places[row] = members[np.exp(-apart / (2 * BANDWIDTH**2)).sum(axis=1).argmax()]
    return places


def regions(places: NDArray[np.float32], sizes: NDArray[np.int64], words: Sequence[Weighted]) -> list[Region]:
    """Regions of k topics at `places` float32 [k, 2], named by the words that weigh most in them."""
    if len(places) < FEWEST_TOPICS:
        return []
    from scipy.cluster.hierarchy import fcluster, linkage

    count = round(float(np.sqrt(len(places)))) + 1
    group = fcluster(linkage(places, "ward"), count, criterion="maxclust")
    named: list[Region] = []
    for name in np.unique(group):
        inside = np.flatnonzero(group == name)
        x, y = np.average(places[inside], axis=0, weights=sizes[inside])
        label = " · ".join(shared_words([words[row] for row in inside.tolist()], sizes[inside], REGION_WORDS))
        named.append(Region(label, tuple(inside.tolist()), float(x), float(y)))
    return named


def shared_words(words: Sequence[Weighted], sizes: NDArray[np.int64], count: int) -> list[str]:
    """The `count` words that weigh most in topics of `sizes` [k] together: what their documents have in common."""
    total: dict[str, float] = {}
    for weighted, share in zip(words, np.sqrt(sizes).tolist(), strict=True):
        heaviest = max((weight for _, weight in weighted), default=0.0) or 1.0
        for word, weight in weighted:
            total[word] = total.get(word, 0.0) + share * weight / heaviest
    return sorted(total, key=lambda word: (-total[word], word))[:count]
