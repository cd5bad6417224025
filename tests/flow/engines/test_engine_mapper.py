from __future__ import annotations

import lance
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import TopicError
from pipeline.flow.engines.base import EngineMapper
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.engines.ray_engine import RayEngine
from pipeline.topics import fit_topics
from pipeline.topics.operations import assign, fit
from pipeline.topics.versions.tables import TopicTables

pytestmark = pytest.mark.cluster


@pytest.fixture
def tables(lab, tmp_path, monkeypatch):
    """The same table twice, three groups along three axes in six fragments, which need no UMAP to be found."""
    monkeypatch.setattr(fit, "cluster", lambda vectors, *_, **__: vectors[:, :3].argmax(axis=1))
    monkeypatch.setattr(assign, "UNIT_ROWS", 50)
    rng = np.random.default_rng(0)
    rows = lab.documents(300)
    axes = np.array([list(lab.THEMES).index(row["theme"]) for row in rows])
    vectors = (np.eye(8)[axes] + rng.normal(scale=0.05, size=(300, 8))).astype(np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)
    table = pa.Table.from_pylist(rows).append_column("vector", column)
    for name in ("here", "there"):
        lance.write_dataset(table, str(tmp_path / name / "docs.lance"), max_rows_per_file=50)
    return str(tmp_path / "here" / "docs"), str(tmp_path / "there" / "docs")


@pytest.fixture(params=["ray", "local"])
def mapper(request):
    if request.param == "local":
        return EngineMapper(LocalEngine())
    request.getfixturevalue("ray_cluster")
    return EngineMapper(RayEngine())


def test_an_engine_assigns_what_one_process_does(mapper, tables):
    one, other = (
        fit_topics(table, limit=90, **how) for table, how in zip(tables, ({}, {"mapper": mapper}), strict=True)
    )
    assert other.tables.open("topic_assignments").count_rows() == 300
    assert len(other.tables.open("topic_assignments").get_fragments()) == 6
    columns = ["id", "topic", "nearest", "score"]
    assert one.assignments(columns).sort_by("id").equals(other.assignments(columns).sort_by("id"))
    assert one.topics().drop_columns("model").equals(other.topics().drop_columns("model"))
    assert (one.artefact().counts.matrix != other.artefact().counts.matrix).nnz == 0
    assert sum(view.size for view in other.overview()) + other.model.outliers == 300


def test_what_the_work_raises_comes_out_and_leaves_no_model(mapper, tables):
    def renumbered(work, units):
        return mapper(work, [*units, (99,)])

    with pytest.raises(TopicError, match="has no fragment 99"):
        fit_topics(tables[0], limit=90, mapper=renumbered)
    assert TopicTables.of(tables[0]).models() == []
    assert fit_topics(tables[0], limit=90, mapper=mapper).model.documents == 300
