"""The hierarchy of topics: a binary tree by average cosine distance of centroids (average linkage)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.topics.clustering.geometry import unit_rows
from pipeline.topics.views.labels import shared_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.topics.versions.load import Topics

__all__ = ["HIERARCHY", "hierarchy"]

WORDS_PER_NODE: Final = 5
"""Words of a node."""

HIERARCHY: Final = pa.schema(
    [
        pa.field("node", pa.int64(), nullable=False),
        pa.field("parent", pa.int64()),
        pa.field("height", pa.float64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("words", pa.list_(pa.string()), nullable=False),
        pa.field("topics", pa.list_(pa.int64()), nullable=False),
    ]
)
"""A row for each node, children before parents. `node` is the id of a topic, or a number above all ids ever used.

`height` is the cosine distance at which a node's children join, 0 for a topic; `parent` is null for the root.
"""


def hierarchy(topics: Topics) -> pa.Table:
    """The tree of a model's k topics: 2k - 1 rows of `HIERARCHY`."""
    rows = topics.topics().to_pylist()
    first = topics.model.unused
    nodes = [_leaf(row) for row in rows]
    weighted = {row["topic"]: (tuple(zip(row["words"], row["weights"], strict=True)), row["size"]) for row in rows}
    for left, right, height, _ in _joins(np.array([row["centroid"] for row in rows], dtype=np.float32)):
        name = first + len(nodes) - len(rows)
        parts = (nodes[int(left)], nodes[int(right)])
        for part in parts:
            part["parent"] = name
        inside = [topic for part in parts for topic in part["topics"]]
        words, sizes = zip(*(weighted[topic] for topic in inside), strict=True)
        shared = shared_words(words, np.array(sizes), WORDS_PER_NODE)
        nodes.append(
            {
                "node": name,
                "parent": None,
                "height": height,
                "size": sum(sizes),
                "label": ", ".join(shared),
                "words": shared,
                "topics": inside,
            }
        )
    return pa.Table.from_pylist(nodes, schema=HIERARCHY)


def _leaf(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "node": row["topic"],
        "parent": None,
        "height": 0.0,
        "size": row["size"],
        "label": row["label"],
        "words": row["words"][:WORDS_PER_NODE],
        "topics": [row["topic"]],
    }


def _joins(centroids: NDArray[np.float32]) -> list[list[float]]:
    """SciPy's linkage of `centroids` [k, D]: k - 1 joins, each with two children, their distance, and a topic count."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if len(centroids) < 2:
        return []
    unit = unit_rows(centroids)
    distance = np.clip(1 - unit @ unit.T, 0, 2).astype(np.float64)
    np.fill_diagonal(distance, 0)
    return linkage(squareform(distance, checks=False), "average").tolist()
