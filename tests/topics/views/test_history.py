from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.topics import label_topic, load_topics, merge_topics
from pipeline.topics.views import topic_events, topic_sizes


@pytest.fixture(scope="module")
def merged(fitted, tmp_path_factory):
    """The first model's tables, and topic 1 merged into topic 0, which then is called something."""
    directory = tmp_path_factory.mktemp("merged") / "lake"
    shutil.copytree(Path(fitted.uri).parent, directory)
    merge_topics(directory / "docs", [0, 1])
    label_topic(directory / "docs", 0, "both")
    return directory / "docs"


def test_a_topic_has_its_size_of_each_version_up_to_the_one_that_is_read(merged):
    sizes = [load_topics(merged, version).show(0, 0).size for version in (1, 2, 3)]
    found = topic_sizes(load_topics(merged), 0)
    assert found.column("version").to_pylist() == [1, 2, 3]
    assert found.column("kind").to_pylist() == ["fit", "merge", "label"]
    assert found.column("size").to_pylist() == sizes
    assert found.column("label").to_pylist()[2] == "both"
    assert found.column("created").to_pylist() == sorted(found.column("created").to_pylist())
    assert topic_sizes(load_topics(merged, 1), 0).column("size").to_pylist() == sizes[:1]
    assert topic_sizes(load_topics(merged), 1).column("version").to_pylist() == [1]
    assert topic_sizes(load_topics(merged), 99).num_rows == 0


def test_events_are_those_of_the_topic_and_those_that_name_it(merged):
    assert topic_events(load_topics(merged), 0).to_pylist() == [
        {"version": 1, "event": "born", "topic": 0, "other": None},
        {"version": 2, "event": "merged", "topic": 1, "other": 0},
    ]
    assert topic_events(load_topics(merged, 1), 0).column("event").to_pylist() == ["born"]
