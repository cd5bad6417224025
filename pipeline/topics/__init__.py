"""Topics of a table: fitted, named, stored beside the table, and recognised again from one fit to the next.

    clustering/    which documents belong together, where that is, and which topic of the last model it was
    words/         what a topic is called
    versions/      the four tables beside the vector table: the next version is written, made visible, loaded
    operations/    fit, refresh, label, merge, reduce: each writes versions
    views/         map, topics over time and by metadata, hierarchy

Imports run from the bottom of this list to the top. What the words mean is said in `pipeline.topics.schema`.
Nothing here imports Ray or unpickles anything.
"""

from __future__ import annotations

from pipeline.topics.operations.drift import Thresholds
from pipeline.topics.operations.edit import label_topic, merge_topics, reduce_topics, set_labels
from pipeline.topics.operations.fit import fit_topics
from pipeline.topics.operations.refresh import Refresh, refresh_topics
from pipeline.topics.versions.load import Example, Topics, TopicView, load_topics
from pipeline.topics.versions.tables import TopicModel

__all__ = [
    "Example",
    "Refresh",
    "Thresholds",
    "TopicModel",
    "TopicView",
    "Topics",
    "fit_topics",
    "label_topic",
    "load_topics",
    "merge_topics",
    "reduce_topics",
    "refresh_topics",
    "set_labels",
]
