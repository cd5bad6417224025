from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import lance
import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.errors import TableNotFoundError, TopicError, UsageError
from pipeline.table.location import TableLocation
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.clustering.documents import read_sample
from pipeline.topics.clustering.recipe import Recipe, cluster


def by_subject(topics, subject_of):
    """Subject → the topic of most of its documents, and the share of them that are in it."""
    rows = topics.assignments(["id", "topic"])
    subjects, found = subject_of(rows["id"].to_pylist()), rows["topic"].to_numpy()
    result = {}
    for subject in np.unique(subjects):
        names, counts = np.unique(found[subjects == subject], return_counts=True)
        result[str(subject)] = int(names[counts.argmax()]), counts.max() / counts.sum()
    return result


def test_the_groups_are_found_and_numbered_by_size(fitted, helpers):
    found = by_subject(fitted.topics, helpers.subject_of)
    assert [found[subject][0] for subject in helpers.SIZES] == [0, 1, 2, 3, 4]
    assert min(share for _, share in found.values()) > 0.9
    for topic, subject in enumerate(helpers.SIZES):
        words = {word for word, _ in fitted.topics.show(topic).words}
        assert words == set(helpers.SUBJECTS[subject].split())


def test_plain_lancedb_and_pandas_read_the_tables(fitted, helpers):
    directory, name = fitted.uri.rsplit("/", 1)
    lake = lancedb.connect(directory)
    [model] = lake.open_table(f"{name}.topic_models").to_pandas().to_dict("records")
    topics = lake.open_table(f"{name}.topics").to_pandas()
    assignments = lake.open_table(f"{name}.topic_assignments").to_pandas()
    events = lake.open_table(f"{name}.topic_events").to_pandas()
    n = sum(helpers.SIZES.values())
    assert (model["version"], model["documents"], model["sampled"], model["fingerprint"]) == (1, n, n, "f1")
    assert assignments["id"].is_unique
    assert len(assignments) == n
    assert {len(centroid) for centroid in topics["centroid"]} == {helpers.DIMENSION}
    assert topics["size"].sum() + model["outliers"] == n
    assert set(events["event"]) == {"born"}
    assert set(topics["model"]) | set(assignments["model"]) | set(events["model"]) == {model["model"]}
    metrics = json.loads(model["metrics"])
    assert metrics["outlier_rate"] == pytest.approx((assignments["topic"] == -1).mean())
    assert 0 < metrics["npmi"] <= 1
    assert 0.9 < metrics["diversity"] <= 1


def test_same_seed_same_topics_whatever_the_order_of_the_rows(fitted, helpers, tmp_path):
    table = helpers.corpus(helpers.SIZES)
    shuffled = table.take(pa.array(np.random.default_rng(3).permutation(table.num_rows)))
    again = fit_topics(helpers.write(tmp_path, shuffled)).assignments().sort_by("id")
    first = fitted.topics.assignments().sort_by("id")
    assert first.drop_columns("model").equals(again.drop_columns("model"))


def test_an_open_table_will_do(fitted, helpers):
    table = SimpleNamespace(location=TableLocation.parse(fitted.uri))
    assert load_topics(table).model == fitted.topics.model


def test_the_next_fit_keeps_ids_and_never_gives_one_twice(helpers, tmp_path):
    sizes = {"space": 60, "motors": 50, "faith": 40}
    uri = helpers.write(tmp_path, helpers.corpus(sizes))
    before = by_subject(fit_topics(uri), helpers.subject_of)

    dataset = lance.dataset(f"{uri}.lance")
    dataset.delete("id LIKE 'space-%'")
    helpers.write(tmp_path, helpers.corpus({"garden": 70, "motors": 20}, seed=5, prefix="new "), mode="append")
    second = fit_topics(uri)
    after = by_subject(second, helpers.subject_of)
    assert after["motors"][0] == after["new motors"][0] == before["motors"][0]
    assert after["faith"][0] == before["faith"][0]
    assert after["new garden"][0] == 3
    events = {(row["event"], row["topic"]) for row in second.events().to_pylist()}
    gone, kept = before["space"][0], {before["motors"][0], before["faith"][0]}
    assert events == {("born", 3), ("retired", gone), *(("continued", topic) for topic in kept)}

    helpers.write(tmp_path, helpers.corpus({"space": 60}), mode="append")
    third = fit_topics(uri)
    assert by_subject(third, helpers.subject_of)["space"][0] == 4
    assert (third.model.version, third.model.parent, third.model.unused) == (3, 2, 5)
    assert load_topics(uri, version=2).model == second.model


def test_above_the_limit_a_sample_is_clustered_and_every_document_assigned(helpers, tmp_path):
    uri = helpers.write(tmp_path, helpers.corpus({"space": 200, "motors": 180, "faith": 160}))
    phases = list[str]()
    topics = fit_topics(uri, limit=200, phase=phases.append)
    assert phases == [
        "reading documents",
        "reducing dimensions",
        "clustering",
        "finding words",
        "assigning documents and counting words",
        "measuring",
    ]
    assert (topics.model.sampled, topics.model.documents) == (200, 540)
    rows = topics.assignments()
    assert rows.num_rows == len(set(rows["id"].to_pylist())) == 540
    found = by_subject(topics, helpers.subject_of)
    assert sorted(topic for topic, _ in found.values()) == [0, 1, 2]
    assert min(share for _, share in found.values()) > 0.85
    assert topics.topics().column("size").to_pylist() == sorted(topics.topics().column("size").to_pylist())[::-1]
    assert pc.sum(topics.topics()["size"]).as_py() + topics.model.outliers == 540
    sample = read_sample(lance.dataset(f"{uri}.lance"), 200)
    assert sample.is_sample
    assert sample.ids.equals(read_sample(lance.dataset(f"{uri}.lance"), 300).ids[:200])


def test_documents_without_a_usable_vector_are_left_out(helpers, tmp_path):
    good = helpers.corpus({"space": 3})
    vectors = np.array([[np.nan] * helpers.DIMENSION, [0.0] * helpers.DIMENSION])
    bad = helpers.table_of(["nan", "zero"], ["a", "b"], vectors)
    null = pa.table({**{name: bad[name][:1] for name in ("text", "slice")}, "id": ["null"], "vector": [None]})
    uri = helpers.write(tmp_path, pa.concat_tables([bad, good, null.select(good.schema.names).cast(good.schema)]))
    documents = read_sample(lance.dataset(f"{uri}.lance"), 100)
    assert sorted(documents.ids.to_pylist()) == ["space-0", "space-1", "space-2"]
    assert sorted(documents.texts) == sorted(good["text"].to_pylist())
    assert np.linalg.norm(documents.vectors, axis=1) == pytest.approx(1)


def test_a_corpus_with_nothing_to_find_is_refused_in_one_line(helpers, tmp_path):
    small = helpers.write(tmp_path, helpers.corpus({"space": 29}))
    with pytest.raises(TopicError, match="only 29 documents with a vector: topics need at least 30"):
        fit_topics(small)
    with pytest.raises(TopicError, match="no topics yet"):
        load_topics(small)
    with pytest.raises(TableNotFoundError, match="there is no table"):
        fit_topics(str(tmp_path / "nothing"))
    with pytest.raises(TableNotFoundError, match="there is no table"):
        load_topics(str(tmp_path / "nothing"))
    no_text = tmp_path / "no_text"
    no_text.mkdir()
    with pytest.raises(TopicError, match="no column 'text'"):
        fit_topics(helpers.write(no_text, helpers.corpus({"space": 40}).drop_columns("text")))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TopicError, match="holds no documents"):
        fit_topics(helpers.write(empty, helpers.corpus({"space": 1})[:0]))


@pytest.mark.parametrize("n", [30, 31, 47, 120])
@pytest.mark.parametrize("kind", ["noise", "copies", "two points"])
def test_awkward_corpora_give_topics_or_one_clear_line(kind, n):
    rng = np.random.default_rng(n)
    vectors = {
        "noise": rng.normal(size=(n, 8)),
        "copies": np.ones((n, 8)),
        "two points": np.eye(8)[rng.integers(0, 2, n)],
    }[kind].astype(np.float32)
    with contextlib.suppress(TopicError):
        labels = cluster(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), Recipe())
        assert labels.shape == (n,)
        assert np.bincount(labels[labels >= 0]).min() >= 15


@pytest.mark.parametrize("bad", [{"seed": -1}, {"min_cluster_size": 1}, {"limit": 10}])
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        fit_topics("nowhere/at_all", **bad)


def test_importing_the_package_imports_no_heavy_library():
    code = "import sys, pipeline.topics; print([m for m in ('bertopic', 'umap', 'hdbscan', 'ray') if m in sys.modules])"
    root = Path(__file__).parents[3]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert run.stdout.strip() == "[]"
