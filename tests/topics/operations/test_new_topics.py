from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import TopicError
from pipeline.topics.clustering.geometry import Geometry, unit_rows
from pipeline.topics.clustering.recipe import Recipe
from pipeline.topics.operations import new_topics
from pipeline.topics.operations.new_topics import find_new_topics, typical_similarity

DIMENSION = 32
RECIPE = Recipe(min_cluster_size=10)


def around(direction, count, seed, spread=0.08):
    noise = np.random.default_rng(seed).normal(scale=spread, size=(count, DIMENSION))
    return unit_rows((direction + noise).astype(np.float32))


@pytest.fixture
def subjects():
    directions = np.random.default_rng(1).normal(size=(6, DIMENSION))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


@pytest.fixture
def old(subjects):
    vectors = np.concatenate([around(subject, 60, row) for row, subject in enumerate(subjects[:4])])
    return Geometry.of(vectors, np.repeat(np.arange(4), 60)).renamed(np.array([2, 3, 5, 8]))


@pytest.fixture
def told(monkeypatch):
    """What the clustering is to say, if anything."""

    def tell(labels):
        def cluster(*_, **__):
            if labels is None:
                raise TopicError("nothing")
            return labels

        monkeypatch.setattr(new_topics, "cluster", cluster)

    return tell


def test_a_new_subject_is_born_and_a_known_one_is_not(old, subjects, told):
    vectors = np.concatenate([around(subjects[4], 40, 9), around(subjects[0], 30, 8), around(subjects[5], 20, 7)])
    told(np.repeat([0, 1, 2], [40, 30, 20]))
    born = find_new_topics(old, vectors, RECIPE)
    assert born.ids.tolist() == [0, 1]
    assert (born.centroids @ subjects[[4, 5]].T).diagonal().min() > 0.9
    assert ((old + born.renamed(np.array([9, 10]))).assign(vectors[:40]).topic == 9).mean() >= 0.9


def test_a_cluster_that_wins_too_few_documents_is_not_born(old, subjects, told):
    mixed = np.concatenate([around(subject, 12, row) for row, subject in enumerate(subjects[:4])])
    vectors = np.concatenate([mixed, around(subjects[4], 9, 5)])
    told(np.zeros(len(vectors), dtype=np.int64))
    born = find_new_topics(old, vectors, RECIPE)
    assert len(born.ids) == 0, "the middle of everything is nearest to nothing"
    told(np.repeat([0, -1], [9, len(mixed)]))
    assert len(find_new_topics(old, np.concatenate([vectors[-9:], mixed]), RECIPE).ids) == 0


def test_nothing_is_born_where_nothing_clusters(old, told):
    told(None)
    born = find_new_topics(old, around(np.ones(DIMENSION), 5, 0), RECIPE)
    assert (len(born.ids), born.centroids.shape) == (0, (0, DIMENSION))
    assert np.array_equal((old + born).ids, old.ids)


def test_likeness_is_how_near_old_topics_lie_to_each_other(old):
    similarity = old.centroids @ old.centroids.T - 2 * np.eye(4)
    assert similarity.max() >= typical_similarity(old) >= np.median(similarity.max(axis=1))
    assert typical_similarity(old.at(np.array([1]))) == -1
