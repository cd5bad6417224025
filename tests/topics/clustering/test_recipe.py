from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TopicError, UsageError
from pipeline.topics import fit_topics
from pipeline.topics.clustering import engines
from pipeline.topics.clustering.recipe import RECIPES, Recipe, _by_size, cluster, library_versions


@pytest.fixture(scope="module")
def blobs():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 60)
    vectors = rng.normal(size=(4, 160))[truth] + rng.normal(scale=0.3, size=(240, 160))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), truth


# EVoC compiles for a minute on one core.
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "evoc")) for name in RECIPES])
def test_every_recipe_finds_the_groups_and_finds_them_again(blobs, name):
    vectors, truth = blobs
    labels = cluster(vectors, Recipe(name=name))
    assert np.array_equal(labels, cluster(vectors, Recipe(name=name)))
    inside = labels >= 0
    assert inside.mean() > 0.8
    for topic in range(labels.max() + 1):
        assert len(set(truth[labels == topic].tolist())) == 1
    assert labels.max() + 1 >= 4


def test_known_topics_guide_a_clustering_and_nothing_known_does_not(blobs):
    vectors, truth = blobs
    mixed = np.where(truth < 2, 0, 1)
    apart = np.where(np.arange(len(truth)) % 2, truth, -1)
    labels = cluster(vectors, Recipe(), apart)
    assert all(len(set(truth[labels == topic].tolist())) == 1 for topic in range(labels.max() + 1))
    assert cluster(vectors, Recipe(), mixed).max() + 1 >= 4, "what was one topic may become two"
    assert np.array_equal(cluster(vectors, Recipe()), cluster(vectors, Recipe(), np.full(len(truth), -1)))


def test_documents_of_one_text_have_no_topics_and_that_is_said(monkeypatch, blobs):
    monkeypatch.setattr("pipeline.topics.clustering.recipe._clusters", lambda vectors, *_: np.full(len(vectors), -1))
    one = np.random.default_rng(0).normal(size=64)
    vectors = np.tile(one / np.linalg.norm(one), (60, 1)).astype(np.float16).astype(np.float32)
    vectors[7] = np.nextafter(vectors[7].astype(np.float16), np.float16(1)).astype(np.float32)
    with pytest.raises(TopicError, match="all 60 documents hold the same text"):
        cluster(vectors, Recipe())
    with pytest.raises(TopicError, match="all 240 documents are outliers"):
        cluster(blobs[0], Recipe())


def test_recipes_that_are_not_there_are_named(monkeypatch, blobs):
    with pytest.raises(UsageError, match="recipe='kmeans': there are exact, pca, evoc"):
        fit_topics("nowhere/at_all", recipe="kmeans")
    monkeypatch.setitem(sys.modules, "evoc", None)
    with pytest.raises(UsageError, match=r"pip install 'moee-pipeline\[evoc\]'"):
        cluster(blobs[0], Recipe(name="evoc"))


def test_without_cuml_nothing_is_said_of_it(caplog):
    engines.cuml.cache_clear()
    if engines.cuml() is not None:
        pytest.skip("cuML is installed here")
    assert "cuml" not in library_versions()
    assert caplog.records == []


def test_a_cuml_that_cannot_be_imported_is_left_alone(monkeypatch, tmp_path, caplog):
    (tmp_path / "cuml").mkdir()
    (tmp_path / "cuml" / "__init__.py").write_text("raise RuntimeError('no CUDA-capable device')")
    monkeypatch.syspath_prepend(tmp_path)
    engines.cuml.cache_clear()
    assert engines.cuml() is None
    assert "no CUDA-capable device" in caplog.text
    engines.cuml.cache_clear()


labelings = st.integers(1, 60).flatmap(
    lambda n: st.tuples(st.lists(st.integers(-1, 4), min_size=n, max_size=n), st.integers(0, 2**32 - 1))
)


@given(labelings)
def test_renumbering_goes_by_size_and_keeps_the_partition(drawn):
    labels = np.array(drawn[0])
    renumbered = _by_size(labels)
    assert np.array_equal(renumbered < 0, labels < 0)
    sizes = np.bincount(renumbered[renumbered >= 0])
    assert (np.diff(sizes) <= 0).all()
    assert len({*zip(labels.tolist(), renumbered.tolist(), strict=True)}) == len(np.unique(labels))
