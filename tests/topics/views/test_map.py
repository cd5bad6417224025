from __future__ import annotations

import dataclasses
import logging
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.topics import load_topics
from pipeline.topics.operations.edit import label_topic
from pipeline.topics.views import draw_map, map_page, save_picture
from pipeline.topics.views.colours import colours
from pipeline.topics.views.labels import label_coordinates, regions
from pipeline.topics.views.map import MAX_TEXT_CHARACTERS
from pipeline.topics.views.sample import quotas


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=40), st.integers(1, 5_000))
def test_quotas_are_shares_that_small_topics_survive(sizes, points):
    sizes = np.array(sizes)
    shown = quotas(sizes, points)
    assert shown.sum() <= max(points, 0) or shown.sum() == sizes.sum() <= points
    assert shown.sum() >= 1
    assert (shown <= sizes).all()
    assert (shown >= np.minimum(sizes, points // (2 * len(sizes)))).all()
    order = np.argsort(sizes, kind="stable")
    assert (np.diff(shown[order]) >= 0).all()


def test_a_map_shows_every_document_of_a_small_table(dated, drawn):
    assert sorted(drawn.ids.to_pylist()) == sorted(dated.subjects)
    assert drawn.points.shape == (drawn.documents, 2)
    assert drawn.points.min() >= 0
    assert drawn.points.max() <= 1
    found = dict(zip(drawn.ids.to_pylist(), drawn.topic.tolist(), strict=True))
    for row in dated.topics.assignments(["id", "topic"]).to_pylist():
        position = found[row["id"]]
        assert (drawn.topics[position].topic if position >= 0 else -1) == row["topic"]
    assert [topic.size for topic in drawn.topics] == sorted((topic.size for topic in drawn.topics), reverse=True)


def test_documents_of_a_topic_stand_together_and_its_label_among_them(drawn):
    for index, topic in enumerate(drawn.topics):
        inside = drawn.points[drawn.topic == index]
        assert np.linalg.norm(inside - [topic.x, topic.y], axis=1).min() < 1e-6
        to_others = [np.hypot(topic.x - other.x, topic.y - other.y) for other in drawn.topics if other is not topic]
        assert np.median(np.linalg.norm(inside - [topic.x, topic.y], axis=1)) < min(to_others)


def test_the_topics_rows_tell_where_their_labels_stand(fitted, tmp_path):
    shutil.copytree(Path(fitted.uri).parent, tmp_path / "lake")
    drawn = draw_map(load_topics(tmp_path / "lake" / "docs"))
    draw_map(load_topics(tmp_path / "lake" / "docs"), points=60)
    rows = load_topics(tmp_path / "lake" / "docs").topics().to_pylist()
    assert {row["topic"]: (row["x"], row["y"]) for row in rows} == {
        topic.topic: pytest.approx((topic.x, topic.y)) for topic in drawn.topics
    }


def test_a_sample_holds_some_of_every_topic_and_is_part_of_a_larger_one(dated):
    small, large = draw_map(dated.topics, points=60), draw_map(dated.topics, points=120)
    assert len(small.points) <= 60 < len(large.points) <= 120
    assert {topic.topic for topic in small.topics} == {topic.topic for topic in large.topics}
    assert set(small.ids.to_pylist()) < set(large.ids.to_pylist())


def test_a_damaged_layout_is_made_again_and_the_same(dated, drawn, caplog):
    for artefact in Path(f"{dated.uri}.topic_artefacts").glob("map-*"):
        artefact.write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        redrawn = draw_map(dated.topics)
    assert "drawing the map again" in caplog.text
    np.testing.assert_array_equal(redrawn.points, drawn.points)
    caplog.clear()
    np.testing.assert_array_equal(draw_map(dated.topics).points, drawn.points)
    assert not caplog.records


def test_a_new_label_moves_no_map(dated, drawn, tmp_path, monkeypatch):
    shutil.copytree(Path(dated.uri).parent, tmp_path / "lake")
    draw_map(load_topics(tmp_path / "lake" / "docs"))
    topics = label_topic(tmp_path / "lake" / "docs", drawn.topics[0].topic, "Another name")
    monkeypatch.setattr("pipeline.topics.views.map.layout", lambda *_: pytest.fail("laid out again"))
    again = draw_map(topics)
    assert again.topics[0].label == "Another name"
    np.testing.assert_array_equal(again.points, drawn.points)


@pytest.mark.parametrize("points", [0, 10**9])
def test_a_map_of_too_few_or_too_many_points_is_refused(dated, points):
    with pytest.raises(UsageError, match="a map shows 1 to 500,000"):
        draw_map(dated.topics, points)


@pytest.mark.parametrize("points", [1, 2, 9])
def test_of_few_documents_there_is_a_map_too(dated, drawn, points):
    few = draw_map(dated.topics, points=points)
    assert 1 <= len(few.points) <= points
    assert np.isfinite(few.points).all()


def test_texts_are_cut_and_on_one_line(dated, helpers, tmp_path):
    import lance

    shutil.copytree(Path(dated.uri).parent, tmp_path / "lake")
    table = lance.dataset(str(tmp_path / "lake" / "docs.lance"))
    long = "é\t\nx " * 400
    table.update({"text": f"'{long}'"}, where="id = 'space-0'")
    drawn = draw_map(load_topics(tmp_path / "lake" / "docs"))
    text = drawn.texts[drawn.ids.index("space-0").as_py()].as_py()
    assert text == ("é x " * 400)[: MAX_TEXT_CHARACTERS - 1] + "…"


def test_a_label_stands_where_its_topic_is_densest():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0.2, 0.01, (60, 2)), rng.normal(0.8, 0.01, (40, 2)), [[0.5, 0.5]]])
    topic = np.r_[np.zeros(100, np.int64), 7]
    places = label_coordinates(points.astype(np.float32), topic, np.array([0, 7, 9]))
    np.testing.assert_allclose(places[0], [0.2, 0.2], atol=0.03)
    np.testing.assert_allclose(places[1], [0.5, 0.5], atol=1e-6)
    assert np.isnan(places[2]).all()


def test_regions_gather_neighbours_under_shared_words():
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32)
    places = np.repeat(corners, 9, axis=0) + np.random.default_rng(0).normal(0, 0.01, (36, 2)).astype(np.float32)
    words = [((f"corner{row // 9}", 0.5), (f"own{row}", 0.6)) for row in range(36)]
    found = regions(places, np.full(36, 20), words)
    assert sorted(topic for region in found for topic in region.topics) == list(range(36))
    assert all(region.label.startswith(f"corner{region.topics[0] // 9}") for region in found)
    assert regions(places[:5], np.full(5, 20), words[:5]) == []


@given(st.integers(0, 300), st.sampled_from(["light", "dark"]))
def test_colours_are_colours_and_neighbours_differ(count, theme):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    chosen = colours(np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32), theme)
    assert len(chosen) == count
    assert all(len(colour) == 7 and int(colour[1:], 16) >= 0 for colour in chosen)
    assert all(first != second for first, second in pairwise(chosen))


def test_a_picture_is_drawn_whatever_the_labels(drawn, tmp_path):
    import matplotlib.image

    odd = ["$x^{", "日本語", "<b>&amp;", "", "word " * 40]
    topics = tuple(dataclasses.replace(topic, label=label) for topic, label in zip(drawn.topics, odd, strict=True))
    save_picture(dataclasses.replace(drawn, title="$\\frac{", topics=topics), tmp_path / "map.png")
    pixels = matplotlib.image.imread(tmp_path / "map.png")
    assert pixels.shape[:2] == (1440, 2240)
    assert len(np.unique((pixels[::8, ::8, :3] * 8).astype(int).reshape(-1, 3), axis=0)) > 10
    with pytest.raises(UsageError, match=r"map\.what"):
        save_picture(drawn, tmp_path / "map.what")


def test_the_page_names_no_other_place(drawn):
    page = map_page(drawn)
    assert "://" not in page
    assert "default-src 'none'" in page
    for attribute in ("src=", "href=", "@import", "url("):
        assert attribute not in page


def test_the_page_is_the_same_for_the_same_map(drawn):
    assert map_page(drawn) == map_page(drawn)


def test_placeholders_in_data_stay_data(drawn):
    page = map_page(
        dataclasses.replace(drawn, title="{{script}} {{texts}}", ids=pa.array(["{{head}}"] * len(drawn.ids)))
    )
    assert page.count('"use strict"') == 1
