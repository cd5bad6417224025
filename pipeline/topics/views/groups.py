"""Groups of kindred topics, so that people find their way among hundreds: by Ward's method on unit centroids.

Average linkage, as in `pipeline.topics.views.hierarchy`, would cut into one large group and many single topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.topics.clustering.geometry import unit_rows
from pipeline.topics.views.labels import shared_words

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MIN_TOPICS_FOR_GROUPS", "TopicGroup", "topic_groups"]

MIN_TOPICS_FOR_GROUPS: Final = 60
"""Fewer topics are read as a list."""
MIN_GROUPS: Final = 12
MAX_GROUPS: Final = 24
GROUP_WORDS: Final = 4
"""Words of a group's label."""


@dataclass(frozen=True, slots=True)
class TopicGroup:
    """Kindred topics."""

    label: str
    """Words that weigh most in its topics."""
    topics: tuple[int, ...]
    """Their ids, largest topic first."""


def topic_groups(rows: pa.Table) -> list[TopicGroup]:
    """Groups of the k topics of `rows` (`Topics.topics`), about √k of them, largest first; none for a short list."""
    count = rows.num_rows
    if count < MIN_TOPICS_FOR_GROUPS:
        return []
    from scipy.cluster.hierarchy import fcluster, linkage

    centroids = np.array(rows.column("centroid").to_pylist(), dtype=np.float32)
    most = int(np.clip(round(float(np.sqrt(count))), MIN_GROUPS, MAX_GROUPS))
    group = fcluster(linkage(unit_rows(centroids), "ward"), most, criterion="maxclust")
    ids, sizes = rows.column("topic").to_numpy(), rows.column("size").to_numpy()
    weighted = [
        tuple(zip(words, weights, strict=True))
        for words, weights in zip(rows.column("words").to_pylist(), rows.column("weights").to_pylist(), strict=True)
    ]
    inside = [np.flatnonzero(group == name) for name in np.unique(group)]
    inside.sort(key=lambda members: (-sizes[members].sum(), members[0]))
    return [
        TopicGroup(
            ", ".join(shared_words([weighted[row] for row in members.tolist()], sizes[members], GROUP_WORDS)),
            tuple(ids[members[np.argsort(-sizes[members], kind="stable")]].tolist()),
        )
        for members in inside
    ]
