from __future__ import annotations

import numpy as np

from pipeline.topics.views import hierarchy


def test_the_tree_holds_every_topic_once_and_grows_upwards(fitted):
    rows = {row["node"]: row for row in hierarchy(fitted.topics).to_pylist()}
    topics = set(fitted.topics.topics().column("topic").to_pylist())
    assert len(rows) == 2 * len(topics) - 1
    leaves = {name for name, row in rows.items() if row["height"] == 0}
    assert leaves == topics
    (root,) = (row for row in rows.values() if row["parent"] is None)
    assert set(root["topics"]) == topics
    assert root["size"] == sum(rows[topic]["size"] for topic in topics)
    for row in rows.values():
        if row["parent"] is not None:
            assert rows[row["parent"]]["height"] >= row["height"]
            assert set(row["topics"]) < set(rows[row["parent"]]["topics"])
    assert all(row["words"] for row in rows.values())


def test_the_closest_topics_join_first(fitted):
    geometry = fitted.topics.geometry()
    similarity = geometry.centroids @ geometry.centroids.T - 2 * np.eye(len(geometry.ids))
    closest = set(geometry.ids[list(np.unravel_index(similarity.argmax(), similarity.shape))].tolist())
    first = next(row for row in hierarchy(fitted.topics).to_pylist() if row["height"] > 0)
    assert set(first["topics"]) == closest
    assert first["node"] >= fitted.topics.model.unused
