from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.topics.clustering.agglomerate import agglomerate
from pipeline.topics.clustering.geometry import unit_rows


def topics(count, seed):
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(count, 5)).astype(np.float32)), rng.integers(1, 100, count), rng


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.data())
def test_as_many_are_left_as_were_asked_for(count, seed, data):
    centroids, sizes, rng = topics(count, seed)
    fixed = rng.random(count) < 0.3
    to = data.draw(st.integers(max(1, int(fixed.sum())), count))
    onto = agglomerate(centroids, sizes, to, fixed)
    assert len(np.unique(onto)) == to
    assert (onto[onto] == onto).all(), "who is merged into another is not merged into a third"
    assert (onto[fixed] == np.flatnonzero(fixed)).all()
    for left in np.unique(onto):
        group = np.flatnonzero(onto == left)
        assert fixed[left] or sizes[left] == sizes[group].max()


@given(st.integers(3, 10), st.integers(0, 2**32 - 1))
def test_groups_of_fewer_topics_are_unions_of_groups_of_more(count, seed):
    centroids, sizes, _ = topics(count, seed)
    nobody = np.zeros(count, dtype=bool)
    fine, coarse = agglomerate(centroids, sizes, 3, nobody), agglomerate(centroids, sizes, 2, nobody)
    assert all(len(np.unique(coarse[fine == left])) == 1 for left in np.unique(fine))


def test_the_costs_are_those_of_ward():
    from scipy.cluster.hierarchy import fcluster, ward

    centroids, _, _ = topics(12, 3)
    onto = agglomerate(centroids, np.ones(12, dtype=np.int64), 4, np.zeros(12, dtype=bool))
    theirs = fcluster(ward(centroids), 4, "maxclust")
    assert len({*zip(onto.tolist(), theirs.tolist(), strict=True)}) == 4


def test_small_topics_go_before_large_ones():
    centroids = unit_rows(np.array([[1, 0], [1, 0.3], [0, 1], [0.3, 1]], dtype=np.float32))
    onto = agglomerate(centroids, np.array([900, 800, 9, 8]), 3, np.zeros(4, dtype=bool))
    assert onto.tolist() == [0, 1, 2, 2]


def test_what_is_fixed_cannot_be_merged_away():
    centroids, sizes, _ = topics(4, 0)
    with pytest.raises(UsageError, match="3 topics have locked labels"):
        agglomerate(centroids, sizes, 2, np.array([True, True, True, False]))
