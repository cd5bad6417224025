"""Every document assigned, part by part, whatever happens in between."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.mapper import in_this_process
from pipeline.topics import fit_topics, load_topics
from pipeline.topics.operations import assign, fit
from pipeline.topics.operations.assign import assign_documents, units_of
from pipeline.topics.schema import OUTLIER
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.tables import TopicTables

SIZES = {"space": 90, "motors": 80, "faith": 70}
LIMIT, UNIT_ROWS, FILE_ROWS = 60, 50, 30


def by_axis(vectors, *_, **__):
    """Clusters of `axes`, without UMAP."""
    return vectors[:, :3].argmax(axis=1)


def corpus(helpers):
    """Three groups along the first three axes, in eight files."""
    rng = np.random.default_rng(0)
    parts = []
    for axis, (subject, size) in enumerate(SIZES.items()):
        vectors = np.eye(helpers.DIMENSION)[axis] + rng.normal(scale=0.05, size=(size, helpers.DIMENSION))
        texts = [" ".join(rng.choice(helpers.SUBJECTS[subject].split(), 6)) for _ in range(size)]
        parts.append(helpers.table_of([f"{subject}-{row}" for row in range(size)], texts, vectors))
    table = pa.concat_tables(parts)
    slices = pa.array(np.arange(table.num_rows) // FILE_ROWS)
    return table.set_column(table.schema.get_field_index("slice"), "slice", slices)


@pytest.fixture
def uri(helpers, tmp_path, monkeypatch):
    monkeypatch.setattr(fit, "cluster", by_axis)
    monkeypatch.setattr(assign, "UNIT_ROWS", UNIT_ROWS)
    return write(tmp_path, corpus(helpers))


def write(directory, table):
    lance.write_dataset(table, str(directory / "docs.lance"), max_rows_per_file=FILE_ROWS)
    return str(directory / "docs")


def assignments(topics):
    rows = topics.assignments(["id", "topic", "nearest", "score", "margin", "slice"]).sort_by("id")
    assert len(rows["id"].unique()) == rows.num_rows
    return rows


def test_words_describe_all_documents(uri):
    topics = fit_topics(uri, limit=LIMIT)
    assert (topics.model.sampled, topics.model.documents) == (LIMIT, sum(SIZES.values()))
    rows = assignments(topics)
    counts = topics.artefact().counts
    stored = lance.dataset(f"{uri}.lance").to_table(columns=["id", "text"]).sort_by("id")
    of = np.append(OUTLIER, [0, 1, 2])
    again = counts.vocabulary.count(stored["text"].to_pylist(), rows["topic"].to_numpy(), of)
    assert (counts.matrix != again.matrix).nnz == 0
    assert counts.matrix.sum() == 6 * topics.model.documents
    for row in topics.topics().to_pylist():
        assert row["words"] == [word for word, _ in again.top(10)[row["topic"]]]


def test_units_bundle_fragments(uri):
    dataset = lance.dataset(f"{uri}.lance")
    units = units_of(dataset)
    assert [number for unit in units for number in unit] == list(range(8))
    assert {len(unit) for unit in units} == {1}
    assert len(units_of(lance.dataset(f"{uri}.lance"))) == 8


def test_a_fit_that_died_goes_on_with_the_units_that_are_missing(uri, helpers, tmp_path, monkeypatch):
    script = Path(__file__).with_name("killed_fit.py")
    run = subprocess.run(
        [sys.executable, str(script), uri, str(LIMIT), str(UNIT_ROWS)], capture_output=True, text=True, check=False
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert TopicTables.of(uri).models() == []
    committed = TopicTables.of(uri).open("topic_assignments").count_rows()
    assert committed == 3 * FILE_ROWS

    def no_clustering(*_, **__):
        raise AssertionError("the clustering was saved")

    monkeypatch.setattr(fit, "cluster", no_clustering)
    written = []

    def watched(work, units):
        for part in in_this_process(work, units):
            written.append(part.rows)
            yield part

    topics = fit_topics(uri, limit=LIMIT, mapper=watched)
    assert written == [0, 0, 0, *[FILE_ROWS] * 5]
    data = Path(f"{uri}.topic_assignments.lance", "data")
    assert len(list(data.iterdir())) == 8, "what was staged and not committed is gone"

    (tmp_path / "fresh").mkdir()
    monkeypatch.setattr(fit, "cluster", by_axis)
    undisturbed = fit_topics(write(tmp_path / "fresh", corpus(helpers)), limit=LIMIT)
    assert assignments(topics).equals(assignments(undisturbed))
    assert topics.model.model == undisturbed.model.model
    assert topics.topics().equals(undisturbed.topics())
    left = [path.name for path in Path(f"{uri}.topic_artefacts").iterdir()]
    assert left == [f"{topics.model.artefact}.safetensors"]


def test_documents_that_cannot_be_used_do_not_lose_the_words_of_their_unit(uri, helpers, monkeypatch):
    bad = helpers.table_of(["zero"], ["planet"], np.zeros((1, helpers.DIMENSION)))
    lance.write_dataset(bad, f"{uri}.lance", mode="append")
    monkeypatch.setattr(assign, "UNIT_ROWS", 1000)

    def interrupted(work, units):
        yield from in_this_process(work, units)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_topics(uri, limit=LIMIT, mapper=interrupted)
    topics = fit_topics(uri, limit=LIMIT)
    assert topics.model.documents == sum(SIZES.values())
    assert topics.artefact().counts.matrix.sum() == 6 * topics.model.documents


def test_only_new_and_changed_documents_are_assigned_again(uri, helpers):
    first = fit_topics(uri, limit=LIMIT)
    dataset = lance.dataset(f"{uri}.lance")
    dataset.update({"slice": "1000"}, where="slice = 2")
    lance.write_dataset(
        helpers.table_of(["new"], ["planet"], np.eye(helpers.DIMENSION)[:1]), dataset.uri, mode="append"
    )
    lance.dataset(dataset.uri).optimize.compact_files()

    def assigned():
        with topic_lease(first.tables) as lease:
            step = NextVersion.begin(first.tables, lease, "assign", params={})
            counts = assign_documents(step, first.geometry(), vocabulary=first.artefact().vocabulary)
            sizes = step.sizes()
            rows = [{**row, "size": sizes[row["topic"]]} for row in first.topics().to_pylist()]
            topics = step.publish(
                topics=[{name: row[name] for name in row if name not in step.stamp} for row in rows],
                events=[],
                documents=sum(sizes.values()),
                outliers=sizes.get(-1, 0),
                unused=first.model.unused,
                metrics={},
            )
            return step, topics, counts

    step, second, counts = assigned()
    again = set(step.written(["id"])["id"].to_pylist())
    assert len(again) == FILE_ROWS + 1
    assert "new" in again
    assert counts.matrix.sum() == 6 * FILE_ROWS + 1
    assert second.model.documents == first.model.documents + 1
    assert second.topics_of(pa.array(["new"])).to_pylist() == [0]
    step, third, counts = assigned()
    assert step.written().num_rows == 0
    assert counts.matrix.sum() == 0
    assert assignments(third).equals(assignments(second))
    assert assignments(load_topics(uri, version=1)).equals(assignments(first))


def test_the_share_outside_changes_by_a_threshold_at_read_time(uri):
    topics = fit_topics(uri, limit=LIMIT)
    shares = [np.mean(topics.assignments(["topic"], mad=mad)["topic"].to_numpy() < 0) for mad in (0, 1, 3, 9)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.3
    assert shares[3] < 0.02
    assert topics.assignments(mad=3).equals(topics.assignments())
    assert topics.assignments(["score", "topic"], mad=1).column_names == ["score", "topic"]


def test_nothing_is_pickled():
    root = Path(__file__).parents[3]
    names = [path for folder in ("pipeline", "jobs") for path in (root / folder).rglob("*.py")]
    spoken = [path.name for path in names if "import pickle" in path.read_text() or "joblib" in path.read_text()]
    assert spoken == []
    assert json.dumps(spoken) == "[]"
