from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import CommitError, LeaseError, TopicError
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.clustering.documents import read_sample
from pipeline.topics.operations import fit
from pipeline.topics.schema import topics_schema
from pipeline.topics.tensors import tensor_names, write_tensors
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.tables import TopicTables

KINDS = ("topic_assignments", "topics", "topic_events")


@pytest.fixture
def table(fitted, helpers, tmp_path, monkeypatch):
    """A table without topics, whose clustering costs nothing because it is the fitted table's."""
    uri = helpers.write(tmp_path, helpers.corpus(helpers.SIZES))
    documents = read_sample(lance.dataset(f"{fitted.uri}.lance"), 1000)
    labels = fitted.topics.topics_of(documents.ids).to_numpy()
    monkeypatch.setattr(fit, "cluster", lambda *_, **__: labels)
    return uri


def tokens_of(table, kind):
    return set(TopicTables.of(table).open(kind).to_table(columns=["model"])["model"].to_pylist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_leaves_nothing_half_visible_and_the_next_run_goes_on(table, monkeypatch, kind):
    first = fit_topics(table)
    write = NextVersion.write

    def crash(self, name, data):
        write(self, name, data)
        if name == kind:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(NextVersion, "write", crash)
        with pytest.raises(KeyboardInterrupt):
            fit_topics(table)
    assert load_topics(table).model == first.model

    def again(*_, **__):
        raise AssertionError("what the crashed run had clustered is there")

    monkeypatch.setattr(fit, "cluster", again)
    second = fit_topics(table)
    assert load_topics(table).model == second.model
    assert second.model.version == 2
    for name in KINDS:
        assert tokens_of(table, name) == {first.model.model, second.model.model}
    assert second.assignments().num_rows == first.assignments().num_rows
    assert second.topics().num_rows == first.topics().num_rows


def test_what_another_operation_left_when_it_died_is_removed(table, helpers, tmp_path, monkeypatch):
    fit_topics(table)
    with monkeypatch.context() as patch:
        patch.setattr(NextVersion, "publish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fit_topics(table, min_cluster_size=14)
    tables = TopicTables.of(table)
    write_tensors(tables.location, "words.f1", {"any": np.zeros(1)})
    left = set(tensor_names(tables.location))
    assert len(left) == 3
    assert len(tokens_of(table, "topic_assignments")) == 2

    model = fit_topics(table).model
    tokens = {other.model for other in tables.models()}
    assert len(tokens) == 2
    assert set(tensor_names(tables.location)) == {*tokens, "words.f1"}
    assert model.model in tokens
    assert tokens_of(table, "topic_assignments") == tokens


def test_the_token_follows_from_what_decides_the_result(table):
    tables = TopicTables.of(table)
    with topic_lease(tables) as lease:

        def token(kind="fit", **settings):
            return NextVersion.begin(tables, lease, kind, **{"params": {"a": 1}, "seed": 0, **settings}).token

        same = token()
        assert token() == same
        others = [token("refit"), token(params={"a": 2}), token(seed=1)]
        lance.dataset(f"{table}.lance").create_scalar_index("slice", "BTREE")
        assert len({same, *others, token()}) == 5


def test_a_second_change_waits_or_leaves(table):
    with topic_lease(TopicTables.of(table)), pytest.raises(LeaseError, match="is being written by run topics"):
        fit_topics(table)


def test_a_version_that_somebody_took_without_the_lease_is_not_overwritten(table, monkeypatch):
    first = fit_topics(table)
    models = TopicTables.models
    monkeypatch.setattr(TopicTables, "models", lambda self: [])
    with pytest.raises(CommitError, match="another operation wrote version 1 first"):
        fit_topics(table)
    monkeypatch.setattr(TopicTables, "models", models)
    assert load_topics(table).model == first.model


def test_only_a_fit_can_be_first(table):
    tables = TopicTables.of(table)
    with topic_lease(tables) as lease, pytest.raises(TopicError, match="no topics yet"):
        NextVersion.begin(tables, lease, "assign", params={})


def test_given_labels_go_on_with_their_topic(table):
    fit_topics(table)
    topics = TopicTables.of(table).open("topics")
    topics.update({"label": "'Rockets'", "label_source": "'user'", "label_locked": "true"}, where="topic = 0")
    second = fit_topics(table)
    assert second.show(0).label == "Rockets"
    assert second.show(1).label == fit_topics(table).show(1).label != "Rockets"
    assert second.given_labels() == {0: {"label": "Rockets", "label_source": "user", "label_locked": True}}


def test_topics_of_a_replaced_table_with_other_dimensions_are_not_mixed(table, helpers):
    fit_topics(table)
    tables = TopicTables.of(table)
    with topic_lease(tables) as lease:
        step = NextVersion.begin(tables, lease, "fit", params={})
        with pytest.raises(TopicError, match="another dimension"):
            step.write("topics", topics_schema(helpers.DIMENSION + 1).empty_table())


def test_a_model_that_is_not_there_is_named(table):
    fit_topics(table)
    with pytest.raises(TopicError, match="has no topic model 7; there are: 1"):
        load_topics(table, version=7)


def test_a_merge_writes_only_the_documents_that_change_their_topic(table):
    first = fit_topics(table)
    tables = first.tables
    rows = first.assignments()
    moved = rows.filter(pc.equal(rows["topic"], 4))
    with topic_lease(tables) as lease:
        step = NextVersion.begin(tables, lease, "merge", params={"topics": [3, 4]})
        stamped = moved.to_pylist()
        changed = [{**row, **step.stamp, "topic": 3, "nearest": 3} for row in stamped]
        step.write("topic_assignments", pa.Table.from_pylist(changed, schema=rows.schema))
        sizes = step.sizes()
        kept = [row for row in first.topics().drop_columns(["version", "model"]).to_pylist() if row["topic"] != 4]
        for row in kept:
            row["size"] = sizes[row["topic"]]
        second = step.publish(
            topics=kept,
            events=[{"event": "merged", "topic": 4, "other": 3}],
            documents=sum(sizes.values()),
            outliers=sizes.get(-1, 0),
            unused=first.model.unused,
            metrics={},
        )
    assert tables.open("topic_assignments").count_rows() == rows.num_rows + moved.num_rows
    assert (second.model.kind, second.model.base, second.model.parent) == ("merge", 1, 1)
    assert second.model.artefact == first.model.artefact
    assert second.assignments().num_rows == rows.num_rows
    assert set(second.topics_of(moved["id"].combine_chunks()).to_pylist()) == {3}
    assert first.assignments().equals(rows)
    assert second.show(3).size == first.show(3).size + moved.num_rows
    third = fit_topics(table)
    assert (third.model.version, third.model.base) == (3, 3)
    assert third.assignments().num_rows == rows.num_rows
