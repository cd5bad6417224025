from __future__ import annotations

import shutil
from pathlib import Path

import lance
import numpy as np
import pytest

from pipeline.errors import LeaseError, TableNotFoundError, TopicError, UsageError
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.operations.drift import Thresholds
from pipeline.topics.operations.edit import label_topic, merge_topics, reduce_topics, set_labels
from pipeline.topics.operations.refresh import refresh_topics
from pipeline.topics.versions.next_version import topic_lease
from pipeline.topics.versions.tables import TopicTables


@pytest.fixture
def table(fitted, tmp_path):
    shutil.copytree(Path(fitted.uri).parent, tmp_path / "lake")
    return str(tmp_path / "lake" / "docs")


def rows(topics):
    return {row["topic"]: row for row in topics.topics().to_pylist()}


def topic_by_id(topics):
    found = topics.assignments(["id", "topic"])
    return dict(zip(found["id"].to_pylist(), found["topic"].to_pylist(), strict=True))


def test_a_label_given_by_hand_is_locked_and_outlives_refits(table, helpers):
    first = load_topics(table)
    topics = label_topic(table, 2, "  Faith and\nprayer ")
    assert (topics.model.version, topics.model.kind, topics.show(2).label) == (2, "label", "Faith and prayer")
    assert topics.given_labels() == {2: {"label": "Faith and prayer", "label_source": "hand", "label_locked": True}}
    assert topic_by_id(topics) == topic_by_id(first)
    assert label_topic(table, 2, "Faith and prayer").model.version == 2
    assert set_labels(table, {2: "Religion"}, source="llm", locked=False).model.version == 2
    helpers.write(Path(table).parent, helpers.corpus({"faith": 20}, seed=4, prefix="new "), "append")
    assert refresh_topics(table, refit=True).topics.show(2).label == "Faith and prayer"
    back = label_topic(table, 2, None)
    assert back.show(2).label == first.show(2).label
    assert back.given_labels() == {}


def test_many_labels_make_one_version(table):
    topics = set_labels(table, {0: "Rockets", 1: "Cars"}, source="llm", locked=False)
    assert (topics.model.version, topics.show(0).label, topics.show(1).label) == (2, "Rockets", "Cars")
    assert set_labels(table, {}).model.version == 2
    assert label_topic(table, 0, "Space").show(0).label == "Space"


def test_merged_topics_are_one_from_then_on(table, fitted, helpers):
    before = topic_by_id(fitted.topics)
    merged = merge_topics(table, [3, 1])
    after = topic_by_id(merged)
    assert after == {name: 3 if topic == 1 else topic for name, topic in before.items()}
    assert (merged.model.kind, merged.model.topics, merged.model.unused) == ("merge", 4, 5)
    [event] = merged.events().to_pylist()
    assert (event["event"], event["topic"], event["other"]) == ("merged", 1, 3)
    row = rows(merged)[3]
    assert row["size"] == sum(topic == 3 for topic in after.values())
    known = set(" ".join(helpers.SUBJECTS[subject] for subject in ("chips", "motors")).split())
    assert set(row["words"]) <= known
    assert row["label"] == ", ".join(row["words"][:4])
    assert set(row["keywords"]) <= known
    assert {name.split("-")[0] for name in row["representatives"]} <= {"chips", "motors"}
    counts = merged.artefact().counts
    assert counts.topics.tolist() == [-1, 0, 2, 3, 4]
    assert counts.matrix.sum() == fitted.topics.artefact().counts.matrix.sum()


def test_similarities_to_a_merged_topic_are_measured_again(table):
    merged = merge_topics(table, [3, 1])
    geometry, found = merged.geometry(), merged.assignments(["id", "topic", "nearest", "score", "margin"])
    assert set(np.unique(found["nearest"])) <= set(geometry.ids.tolist())
    vectors = lance.dataset(f"{table}.lance").to_table().sort_by("id")
    units = np.stack(vectors["vector"].to_pylist()).astype(np.float32)
    expected = geometry.assign(units / np.linalg.norm(units, axis=1, keepdims=True))
    found = found.sort_by("id")
    near = np.isin(expected.nearest, [3])
    assert np.array_equal(found["nearest"], expected.nearest)
    assert found["score"].to_numpy()[near] == pytest.approx(expected.score[near], abs=1e-3)
    members = expected.score[near]
    assert geometry.median[geometry.ids == 3] == pytest.approx(np.median(members), abs=0.02)


def test_what_is_new_goes_into_merged_topics_and_births_leave_them_alone(table, helpers):
    merge_topics(table, [3, 1])
    helpers.write(Path(table).parent, helpers.corpus({"motors": 25, "garden": 60}, seed=5, prefix="new "), "append")
    refresh = refresh_topics(table, refit=False, thresholds=Thresholds(births=30, births_per_min_size=2))
    assert [model.kind for model in refresh.made] == ["assign", "births"]
    after = topic_by_id(refresh.topics)
    motors = [topic for name, topic in after.items() if "motors" in name]
    assert np.mean(np.array(motors) == 3) > 0.9
    assert 1 not in after.values()
    assert refresh.topics.artefact().counts.matrix.sum() == 8 * len(after)
    assert not set(rows(refresh.topics)[3]["words"]) & set(helpers.SUBJECTS["garden"].split())


def test_the_number_of_topics_is_reduced(table, fitted):
    label_topic(table, 4, "Health")
    reduced = reduce_topics(table, 2)
    assert (reduced.model.kind, reduced.model.topics) == ("reduce", 2)
    assert 4 in rows(reduced)
    assert reduced.show(4).label == "Health"
    onto = {event["topic"]: event["other"] for event in reduced.events().to_pylist()}
    before, after = topic_by_id(fitted.topics), topic_by_id(reduced)
    assert after == {name: onto.get(topic, topic) for name, topic in before.items()}
    again = fit_topics(table)
    assert again.model.unused > 5, "ids of merged topics do not come back"
    assert not set(rows(again)) & set(onto)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        (lambda table: label_topic(table, 9, "x"), TopicError, r"has no topic 9; it has \[0, 1, 2, 3, 4\]"),
        (lambda table: label_topic(table, 0, " \n"), UsageError, "needs some text"),
        (lambda table: merge_topics(table, [0, 0]), UsageError, "two topics or more"),
        (lambda table: merge_topics(table, []), UsageError, "two topics or more"),
        (lambda table: merge_topics(table, [0, -1]), TopicError, "has no topic -1"),
        (lambda table: reduce_topics(table, 5), UsageError, "there are 5 topics"),
        (lambda table: reduce_topics(table, 0), UsageError, "there are 5 topics"),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(fitted, edit, error, message):
    with pytest.raises(error, match=message):
        edit(fitted.uri)
    assert load_topics(fitted.uri).model == fitted.topics.model


def test_one_change_at_a_time(fitted):
    with topic_lease(TopicTables.of(fitted.uri)), pytest.raises(LeaseError):
        label_topic(fitted.uri, 0, "x")


def test_names_say_nothing_of_the_vectors_and_what_compares_them_is_refused(table):
    before = load_topics(table).model.fingerprint
    lance.dataset(f"{table}.lance").update_schema_metadata({"moee.fingerprint": "another"})
    assert label_topic(table, 2, "Faith").model.fingerprint == before != "another"
    for edit in (lambda: merge_topics(table, [0, 1]), lambda: reduce_topics(table, 2)):
        with pytest.raises(TopicError, match="not those of its topics any more"):
            edit()
    assert refresh_topics(table, dry_run=True).decisions[0].action == "refit"


def test_a_mistyped_name_leaves_nothing_behind(tmp_path):
    for edit in (lambda table: merge_topics(table, [0, 1]), lambda table: label_topic(table, 0, "x")):
        with pytest.raises(TableNotFoundError):
            edit(str(tmp_path / "lake" / "doccs"))
    assert not list(tmp_path.iterdir())
