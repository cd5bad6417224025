"""Views of topics for people: a map, topics over time and by metadata, their hierarchy.

    sample → layout → labels → map → page (HTML), picture (PNG)
    counting → over (with intervals), by
    hierarchy
    axes: which columns there are for over and by
    history: one topic from version to version

Nothing here changes topics; a map stores its layout and the topics' coordinates.
"""

from __future__ import annotations

from pipeline.topics.views.axes import axes
from pipeline.topics.views.by import topics_by
from pipeline.topics.views.hierarchy import hierarchy
from pipeline.topics.views.history import topic_events, topic_sizes
from pipeline.topics.views.map import TopicMap, draw_map
from pipeline.topics.views.over import topics_over
from pipeline.topics.views.page import map_page
from pipeline.topics.views.picture import save_picture

__all__ = [
    "TopicMap",
    "axes",
    "draw_map",
    "hierarchy",
    "map_page",
    "save_picture",
    "topic_events",
    "topic_sizes",
    "topics_by",
    "topics_over",
]
