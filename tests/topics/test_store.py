from __future__ import annotations

import lance
import pyarrow as pa
import pytest

from pipeline.errors import CommitError, TopicError
from pipeline.topics import fit, fit_topics, load_topics
from pipeline.topics.fit import cluster_documents
from pipeline.topics.recipe import Recipe
from pipeline.topics.store import TopicTables

KINDS = ("topic_assignments", "topics", "topic_events")


@pytest.fixture
def table(fitted, helpers, tmp_path, monkeypatch):
    """A table without topics, whose clustering costs nothing because it is the fitted table's."""
    uri = helpers.write(tmp_path, helpers.corpus(helpers.SIZES))
    documents = fit.read_sample(lance.dataset(f"{fitted.uri}.lance"), 1000)
    labels = fitted.topics.topics_of(documents.ids).to_numpy()
    monkeypatch.setattr(fit, "cluster", lambda *_: labels)
    clustering = cluster_documents(documents, Recipe())
    monkeypatch.setattr(fit, "cluster_documents", lambda *_: clustering)
    return uri


@pytest.mark.parametrize("kind", KINDS)
def test_a_crash_leaves_nothing_half_visible(table, monkeypatch, kind):
    first = fit_topics(table)
    append = TopicTables.append

    def crash(self, name, data):
        append(self, name, data)
        if name == kind:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TopicTables, "append", crash)
        with pytest.raises(KeyboardInterrupt):
            fit_topics(table)
    assert load_topics(table).model == first.model

    second = fit_topics(table)
    assert load_topics(table).model == second.model
    assert second.model.version == 2
    tables = TopicTables.of(table)
    tokens = {model.model for model in tables.models()}
    for name in KINDS:
        assert set(tables.open(name).to_table(columns=["model"])["model"].to_pylist()) == tokens
    assert second.assignments().num_rows == first.assignments().num_rows
    assert sorted(second.topics()["topic"].to_pylist()) == sorted(first.topics()["topic"].to_pylist())


def test_of_two_fits_that_end_at_once_the_second_goes_on_from_the_first(table, monkeypatch):
    write, others = fit._write, []

    def overtaken(tables, *rest):
        if not others:
            others.append(None)
            model = write(tables, *rest)
            others.append(fit_topics(table))
            for kind in KINDS:  # what the loser writes after the winner has swept
                rows = lance.dataset(str(tables.location.sibling(kind).uri)).to_table().slice(0, 1)
                stray = pa.array(["stray"])
                tables.append(kind, rows.set_column(1, rows.schema.field("model"), stray))
            return model
        return write(tables, *rest)

    monkeypatch.setattr(fit, "_write", overtaken)
    mine = fit_topics(table)
    assert (others[1].model.version, mine.model.version, mine.model.parent) == (1, 2, 1)
    assert set(mine.events()["event"].to_pylist()) == {"continued"}
    for kind in KINDS:
        tokens = TopicTables.of(table).open(kind).to_table(columns=["model"])["model"].to_pylist()
        assert set(tokens) == {others[1].model.model, mine.model.model}
    for topics in (others[1], mine):
        assert topics.assignments().num_rows == topics.model.documents


def test_a_fit_that_loses_every_race_says_so(table, monkeypatch):
    monkeypatch.setattr(TopicTables, "switch", lambda *_: False)
    with pytest.raises(CommitError, match="other fits ended first 5 times"):
        fit_topics(table)


def test_given_labels_go_on_with_their_topic(table):
    fit_topics(table)
    topics = TopicTables.of(table).open("topics")
    topics.update({"label": "'Rockets'", "label_source": "'user'", "label_locked": "true"}, where="topic = 0")
    second = fit_topics(table)
    assert second.show(0).label == "Rockets"
    assert second.show(1).label == fit_topics(table).show(1).label != "Rockets"
    assert second.given_labels() == {0: {"label": "Rockets", "label_source": "user", "label_locked": True}}


def test_topics_of_a_replaced_table_with_other_dimensions_are_not_mixed(table, helpers, tmp_path):
    topics = lance.dataset(f"{table}.lance").to_table()
    fit_topics(table)
    tables = TopicTables.of(table)
    other = fit.topics_schema(helpers.DIMENSION + 1).empty_table()
    with pytest.raises(TopicError, match="another dimension"):
        tables.append("topics", other)
    assert topics.num_rows == load_topics(table).model.documents


def test_a_model_that_is_not_there_is_named(table):
    fit_topics(table)
    with pytest.raises(TopicError, match="has no topic model 7; there are: 1"):
        load_topics(table, version=7)
