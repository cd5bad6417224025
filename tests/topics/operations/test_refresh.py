from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import LeaseError, TopicError
from pipeline.topics import label_topic, load_topics
from pipeline.topics.operations.drift import Thresholds
from pipeline.topics.operations.refresh import refresh_topics
from pipeline.topics.tensors import write_tensors
from pipeline.topics.versions.next_version import topic_lease
from pipeline.topics.versions.tables import TopicTables
from pipeline.topics.words.counts import Vocabulary
from pipeline.topics.words.splitting import SPLITTING

TABLES = ("topic_models", "topics", "topic_assignments", "topic_events")
SMALL = Thresholds(births=40, births_per_min_size=2)
MORE = {"space": 30, "motors": 20, "faith": 20}


@pytest.fixture
def table(fitted, tmp_path):
    """A copy of the fitted table with its topics, to be changed."""
    shutil.copytree(Path(fitted.uri).parent, tmp_path / "lake")
    return str(tmp_path / "lake" / "docs")


@pytest.fixture
def grow(helpers, table):
    """Add documents of some subjects."""

    def add(sizes, **options):
        helpers.write(Path(table).parent, helpers.corpus(sizes, **{"seed": 5, "prefix": "new ", **options}), "append")

    return add


def topic_by_id(topics):
    rows = topics.assignments(["id", "topic"])
    return dict(zip(rows["id"].to_pylist(), rows["topic"].to_pylist(), strict=True))


def states(table):
    """The version of each topic table, and the artefacts."""
    location = TopicTables.of(table).location
    versions = [lance.dataset(location.sibling(kind).uri).version for kind in TABLES]
    return versions, sorted(path.name for path in Path(f"{table}.topic_artefacts").iterdir())


def kinds(refresh):
    return [model.kind for model in refresh.made]


def main_topic(topics, prefix):
    found = [topic for name, topic in topic_by_id(topics).items() if name.startswith(prefix)]
    names, counts = np.unique(found, return_counts=True)
    return int(names[counts.argmax()]), counts.max() / len(found)


def test_new_documents_are_assigned_and_nothing_else_changes(table, grow, fitted):
    grow(MORE)
    refresh = refresh_topics(table)
    assert kinds(refresh) == ["assign"]
    assert (refresh.unassigned, refresh.drift.added, refresh.drift.fitted) == (70, 70, 415)
    before, after = topic_by_id(fitted.topics), topic_by_id(refresh.topics)
    assert {name: after[name] for name in before} == before
    assert len(after) == 485
    assert main_topic(refresh.topics, "new space") == (0, pytest.approx(1, abs=0.2))
    model, rows = refresh.topics.model, refresh.topics.topics()
    assert (model.version, model.parent, model.base, model.documents) == (2, 1, 1, 485)
    assert sum(rows["size"].to_pylist()) + model.outliers == 485
    assert rows.sort_by("topic")["label"].equals(fitted.topics.topics().sort_by("topic")["label"])
    assert model.drift == refresh.drift.to_json() | {"shifts": model.drift["shifts"]}
    counts = refresh.topics.artefact().counts
    assert counts.matrix.sum() == 8 * 485, "eight words a document"


def test_a_second_refresh_changes_nothing(table, grow):
    grow(MORE)
    refresh_topics(table)
    before = states(table)
    again = refresh_topics(table)
    assert (again.made, again.unassigned, again.topics.model.version) == ((), 0, 2)
    assert states(table) == before


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(table, grow):
    grow({**MORE, "garden": 60})
    before = states(table)
    dry = refresh_topics(table, thresholds=SMALL, refit=False, dry_run=True)
    assert dry.is_dry
    assert dry.made == ()
    assert states(table) == before
    wet = refresh_topics(table, thresholds=SMALL, refit=False)
    assert (dry.unassigned, dry.drift, dry.decisions[0]) == (wet.unassigned, wet.drift, wet.decisions[0])
    assert dry.decisions[0].action == "births"


def test_a_new_subject_is_born(table, grow, fitted, helpers):
    grow({**MORE, "garden": 60})
    refresh = refresh_topics(table, thresholds=SMALL, refit=False, encoder=fitted.encoder)
    assert kinds(refresh) == ["assign", "births"]
    assert [decision.action for decision in refresh.decisions] == ["births", "nothing"]
    topic, share = main_topic(refresh.topics, "new garden")
    assert (topic, refresh.topics.model.unused) == (5, 6)
    assert share > 0.9
    before, after = topic_by_id(fitted.topics), topic_by_id(refresh.topics)
    assert {name: after[name] for name in before} == before
    assert main_topic(refresh.topics, "new space")[0] == 0
    view = refresh.topics.show(5)
    assert {word for word, _ in view.words} <= set(helpers.SUBJECTS["garden"].split())
    assert view.keywords
    assert view.size == sum(found == 5 for found in after.values())
    assert [example.id for example in view.examples if "garden" not in example.id] == []
    [event] = refresh.topics.events().to_pylist()
    assert (event["event"], event["topic"]) == ("born", 5)
    assert refresh.topics.artefact().counts.matrix.sum() == 8 * len(after)
    before = states(table)
    assert kinds(refresh_topics(table, thresholds=SMALL, refit=False)) == []
    assert states(table) == before


def test_known_subjects_bear_nothing(table, grow):
    grow({"space": 60, "motors": 60, "faith": 60})
    always = Thresholds(births=0, births_per_min_size=0)
    refresh = refresh_topics(table, thresholds=always, refit=False)
    assert refresh.topics.model.topics == 5
    assert kinds(refresh_topics(table, thresholds=always, refit=False)) == []


def test_a_table_that_has_grown_by_half_is_fitted_again(table, grow, fitted):
    grow({"garden": 120, "space": 100})
    refresh = refresh_topics(table)
    assert kinds(refresh) == ["assign", "refit"]
    assert "growth" in refresh.decisions[-1].reasons[0]
    model = refresh.topics.model
    assert (model.base, model.kind) == (3, "refit")
    assert model.drift["growth"] == pytest.approx(220 / 415)
    before, after = topic_by_id(fitted.topics), topic_by_id(refresh.topics)
    assert np.mean([after[name] == topic for name, topic in before.items()]) > 0.95
    assert main_topic(refresh.topics, "new garden")[0] == 5
    assert kinds(refresh_topics(table)) == []


def test_a_refit_that_was_asked_for_is_done_once_for_a_version_of_the_table(table):
    version = lance.dataset(f"{table}.lance").version
    with pytest.raises(TopicError, match=f"has not reached {version + 1}"):
        refresh_topics(table, at_version=version + 1)
    assert kinds(refresh_topics(table, refit=True)) == ["refit"]
    assert kinds(refresh_topics(table, refit=True, at_version=version)) == []
    assert {event["event"] for event in load_topics(table).events().to_pylist()} == {"continued"}


def test_documents_that_are_gone_or_changed_are_counted_once(table, grow, helpers):
    dataset = lance.dataset(f"{table}.lance")
    dataset.delete("id LIKE 'faith-1%'")
    changed = helpers.corpus({"space": 5}, seed=9).set_column(3, "slice", pa.array([7] * 5))
    dataset.delete("id IN ('space-0', 'space-1', 'space-2', 'space-3', 'space-4')")
    helpers.write(Path(table).parent, changed, "append")
    refresh = refresh_topics(table)
    assert (refresh.unassigned, kinds(refresh)) == (5, ["assign"])
    model, left = refresh.topics.model, lance.dataset(f"{table}.lance").count_rows()
    assert model.documents == left == 415 - 11
    assert sum(refresh.topics.topics()["size"].to_pylist()) + model.outliers == left
    there = set(lance.dataset(f"{table}.lance").to_table(columns=["id"])["id"].to_pylist())
    assert set(refresh.topics.assignments(["id"])["id"].to_pylist()) == there
    assert set(lance.dataset(f"{table}.topic_assignments.lance").to_table(columns=["id"])["id"].to_pylist()) == there
    assert kinds(refresh_topics(table)) == []


def test_vectors_of_another_meaning_call_for_a_refit(table, helpers):
    helpers.write(
        Path(table).parent,
        lance.dataset(f"{table}.lance").to_table().replace_schema_metadata({"moee.fingerprint": "f2"}),
        "overwrite",
    )
    with pytest.raises(TopicError, match="only a refit"):
        refresh_topics(table, refit=False)
    dry = refresh_topics(table, dry_run=True)
    assert (dry.drift, dry.decisions[0].action) == (None, "refit")
    assert kinds(refresh_topics(table)) == ["refit"]


def test_topics_are_refreshed_by_one_at_a_time_and_only_where_there_are_some(table, helpers, tmp_path):
    with topic_lease(TopicTables.of(table)), pytest.raises(LeaseError, match="is being"):
        refresh_topics(table)
    (tmp_path / "bare").mkdir()
    with pytest.raises(TopicError, match="no topics yet"):
        refresh_topics(helpers.write(tmp_path / "bare", helpers.corpus({"space": 3})))


def test_words_that_were_split_by_an_older_rule_are_counted_anew(table, grow, fitted, helpers):
    location = TopicTables.of(table).location
    name = fitted.topics.model.artefact
    older = replace(fitted.topics.artefact(), vocabulary=Vocabulary(("gluedwords", "orbit"), 1), counts=None).tensors()
    write_tensors(location, name, older)
    refresh = refresh_topics(table)
    assert kinds(refresh) == ["assign"]
    counts = refresh.topics.artefact().counts
    assert counts.matrix.sum() == 8 * 415
    assert counts.vocabulary.splitting == SPLITTING
    assert (counts.matrix != fitted.topics.artefact().counts.matrix).nnz == 0
    assert refresh.topics.topics()["words"].equals(fitted.topics.topics()["words"])
    assert kinds(refresh_topics(table)) == []
    grow({**MORE, "garden": 60})
    born = refresh_topics(table, thresholds=SMALL, refit=False)
    assert kinds(born) == ["assign", "births"]
    assert born.topics.artefact().counts.matrix.sum() == 8 * (415 + 130)
    assert {word for word, _ in born.topics.show(5).words} <= set(helpers.SUBJECTS["garden"].split())


def test_words_of_many_documents_that_left_go_with_them(table):
    lance.dataset(f"{table}.lance").delete("id LIKE 'faith-1%'")
    assert refresh_topics(table).topics.artefact().counts.matrix.sum() == 8 * 415, "few: until the next fit"
    lance.dataset(f"{table}.lance").delete("id LIKE 'space-1%'")
    refresh = refresh_topics(table)
    assert refresh.topics.artefact().counts.matrix.sum() == 8 * refresh.topics.model.documents


def test_topics_in_another_script_have_words_and_a_label(table, grow, helpers, monkeypatch):
    monkeypatch.setitem(helpers.SUBJECTS, "garden", "огурец суп台风 мука соль хлеб повар рецепт перец")
    grow({**MORE, "garden": 60})
    view = refresh_topics(table, thresholds=SMALL, refit=False).topics.show(5)
    assert {"огурец", "台风"} <= {word for word, _ in view.words}
    assert view.label


@pytest.mark.parametrize("same_documents", [True, False])
def test_topics_of_a_table_that_was_here_before_are_not_taken_for_its_own(table, helpers, same_documents):
    label_topic(table, 0, "given")
    rows = lance.dataset(f"{table}.lance").to_table().replace_schema_metadata({"moee.fingerprint": "f2"})
    if not same_documents:
        rows = rows.set_column(rows.column_names.index("slice"), "slice", pa.array([7] * 415))
    shutil.rmtree(f"{table}.lance")
    helpers.write(Path(table).parent, rows)
    with pytest.raises(TopicError, match="another table that was here before"):
        load_topics(table)
    refresh = refresh_topics(table)
    assert kinds(refresh) == ["refit"]
    assert ("given" in refresh.topics.topics()["label"].to_pylist()) == same_documents
    assert (refresh.topics.model.unused == 5) == same_documents
    assert load_topics(table).model == refresh.topics.model


def test_a_table_with_fewer_versions_than_its_topics_saw_is_another(table, grow, helpers):
    grow(MORE)
    refresh_topics(table)
    shutil.rmtree(f"{table}.lance")
    helpers.write(Path(table).parent, helpers.corpus({"space": 60, "motors": 60}, seed=3))
    with pytest.raises(TopicError, match="was here before"):
        load_topics(table)
    assert kinds(refresh_topics(table)) == ["refit"]
