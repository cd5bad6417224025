"""Rows of ``NAME.topics``: what a topic is called, and which documents stand for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pipeline.topics.clustering.geometry import Geometry
    from pipeline.topics.words.counts import Weighted

__all__ = ["label_of", "representatives", "topic_row"]

REPRESENTATIVES: Final = 5
LABEL_WORDS: Final = 4


def topic_row(geometry: Geometry, index: int, size: int, words: Weighted, keywords: Weighted = ()) -> dict[str, Any]:
    """A row of ``NAME.topics`` but for stamp and representatives, for the topic at `index`; its label is its words."""
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
    """What a topic is called until somebody says otherwise."""
    return ", ".join(word for word, _ in words[:LABEL_WORDS])


def representatives(
    ids: pa.Array,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    centroids: NDArray[np.float32],
) -> list[list[str]]:
    """Ids of the documents closest to each centroid, no two of them of the same text.

    Args:
        ids: of n documents, string [n].
        texts: of the documents.
        vectors: unit, float32 [n, D].
        labels: int64 [n], 0..k-1, others for none.
        centroids: float32 [k, D].
    """
    chosen: list[list[str]] = []
    for topic, centroid in enumerate(centroids):
        members = np.flatnonzero(labels == topic)
        ranked = members[np.argsort(-(vectors[members] @ centroid), kind="stable")]
        first: dict[str, int] = {}
        for row in ranked[: 4 * REPRESENTATIVES].tolist():
            first.setdefault(texts[row].strip(), row)
        rows = list(first.values())[:REPRESENTATIVES]
        chosen.append(ids.take(pa.array(rows, pa.int64())).to_pylist())
    return chosen
