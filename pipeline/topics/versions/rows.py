"""Rows of ``NAME.topics``: a topic's size, its label, and the documents that stand for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from pipeline.topics.clustering.geometry import Geometry
    from pipeline.topics.words.counts import Weighted

__all__ = ["label_of", "representatives", "topic_row", "topic_sizes"]

REPRESENTATIVES_PER_TOPIC: Final = 5
LABEL_WORDS: Final = 4


def topic_row(geometry: Geometry, index: int, size: int, words: Weighted, keywords: Weighted = ()) -> dict[str, Any]:
    """The row of the topic at `index` without stamp and representatives; its label is made of its words."""
    return {
        "topic": int(geometry.ids[index]),
        "status": "active",
        "size": size,
        "centroid": geometry.centroids[index],
        "median": geometry.median[index],
        "mad": geometry.mad[index],
        "words": [word for word, _ in words],
        "weights": [weight for _, weight in words],
        "keywords": [word for word, _ in keywords],
        "keyword_weights": [weight for _, weight in keywords],
        "label": label_of(words),
        "label_source": "words",
        "label_locked": False,
    }


def label_of(words: Weighted) -> str:
    """The label of a topic that nobody has labelled: its first words."""
    return ", ".join(word for word, _ in words[:LABEL_WORDS])


def representatives(
    ids: pa.Array,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    centroids: NDArray[np.float32],
) -> list[list[str]]:
    """Ids of the documents closest to each centroid; no two of them have the same text.

    Args:
        ids: of n documents, string [n].
        texts: of the documents.
        vectors: unit, float32 [n, D].
        labels: int64 [n], 0..k-1; other values: in none of these topics.
        centroids: float32 [k, D].
    """
    chosen: list[list[str]] = []
    for topic, centroid in enumerate(centroids):
        members = np.flatnonzero(labels == topic)
        ranked = members[np.argsort(-(vectors[members] @ centroid), kind="stable")]
        first: dict[str, int] = {}
        for row in ranked[: 4 * REPRESENTATIVES_PER_TOPIC].tolist():
            first.setdefault(texts[row].strip(), row)
        rows = list(first.values())[:REPRESENTATIVES_PER_TOPIC]
        chosen.append(ids.take(pa.array(rows, pa.int64())).to_pylist())
    return chosen


def topic_sizes(parts: Iterable[NDArray[np.int64]]) -> dict[int, int]:
    """Topic → how often it occurs in `parts`, arrays of topics."""
    sizes: Counter[int] = Counter()
    for topics in parts:
        names, counts = np.unique(topics, return_counts=True)
        sizes.update(dict(zip(names.tolist(), counts.tolist(), strict=True)))
    return dict(sizes)
