from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
from rich.console import Console

from jobs.topics.show import show_topics
from pipeline.topics.views import groups as module
from pipeline.topics.views.groups import MAX_GROUPS, MIN_GROUPS, topic_groups


def rows(count, kinds=14):
    """Topics of some kinds, each kind with a direction and a word of its own."""
    kind = np.arange(count) % kinds
    rng = np.random.default_rng(0)
    centroids = np.eye(kinds)[kind] + rng.normal(scale=0.05, size=(count, kinds))
    return pa.table(
        {
            "topic": 3 * np.arange(count),
            "size": 5000 - np.arange(count),
            "centroid": pa.array(centroids.astype(np.float32).tolist()),
            "words": [[f"kind{name}", f"own{row}"] for row, name in enumerate(kind)],
            "weights": [[0.5, 0.4]] * count,
        }
    )


def test_kindred_topics_stand_together_under_the_word_that_they_share():
    groups = topic_groups(rows(200))
    assert sorted(topic for group in groups for topic in group.topics) == list(range(0, 600, 3))
    for group in groups:
        (kind,) = {topic // 3 % 14 for topic in group.topics}
        assert group.label.split(", ")[0] == f"kind{kind}"
        assert list(group.topics) == sorted(group.topics), "largest first"


def test_a_long_list_has_one_or_two_dozens_of_groups_and_a_short_one_none():
    assert topic_groups(rows(59)) == []
    for count in (60, 700, 2000):
        assert MIN_GROUPS <= len(topic_groups(rows(count, kinds=40))) <= MAX_GROUPS


def test_a_long_list_is_shown_by_groups_unless_all_are_asked_for(fitted, monkeypatch):
    for name in ("MIN_TOPICS_FOR_GROUPS", "MIN_GROUPS", "MAX_GROUPS"):
        monkeypatch.setattr(module, name, 2)
    rows = fitted.topics.topics()
    groups = topic_groups(rows)
    assert len(groups) == 2
    labels = dict(zip(rows["topic"].to_pylist(), rows["label"].to_pylist(), strict=True))

    def shown(limit):
        out = io.StringIO()
        show_topics(Console(file=out, width=200), fitted.topics, limit)
        return out.getvalue()

    for group in groups:
        assert group.label in shown(2)
        assert labels[group.topics[0]] in shown(2)
    assert "--limit 5 lists all" in shown(4)
    assert "--limit" not in shown(5)
    assert all(label in shown(5) for label in labels.values())
