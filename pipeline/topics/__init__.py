"""Topics of a table: fitted, named, stored beside it, and kept the same from one fit to the next.

    documents → recipe (who belongs together) → geometry (where that is) → identity (which topic of the last model)
              → assign (every document, in parts) → counts, words (what it is called) → writing (four tables) → load

Ray does not enter here, nor does pickle.
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
