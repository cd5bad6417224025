from __future__ import annotations

import numpy as np
import pytest

from pipeline.embedding.combine import unit
from pipeline.table.duplicates.cells import cell_count, cells_of, find_centroids, members_of


def test_a_row_is_in_the_cells_of_its_nearest_centroids():
    random = np.random.default_rng(0)
    vectors, centroids = (unit(random.standard_normal((rows, 8))) for rows in (5000, 20))
    nearest = np.argsort(-(vectors @ centroids.T), axis=1)
    for each in (1, 3):
        assert (np.sort(cells_of(vectors, centroids, each)) == np.sort(nearest[:, :each])).all()
    assert cells_of(vectors, centroids[:2], 3).shape == (5000, 2)


def test_centroids_lie_where_the_vectors_do():
    random = np.random.default_rng(1)
    middles = unit(random.standard_normal((5, 32)))
    sample = unit(np.repeat(middles, 100, axis=0) + random.standard_normal((500, 32)) * 0.02)
    centroids = find_centroids(sample, 25)
    assert (centroids @ middles.T).max(axis=0).min() > 0.99
    assert np.linalg.norm(centroids, axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_vectors_have_as_many_centroids(rows):
    sample = unit(np.random.default_rng(2).standard_normal((rows, 4)))
    assert find_centroids(sample, 7).shape == (rows, 4)


def test_every_row_is_a_member_of_each_of_its_cells():
    cells = np.random.default_rng(3).permuted(np.tile(np.arange(9, dtype=np.int32), (40, 1)), axis=1)[:, :3]
    members = dict(members_of(cells))
    assert {cell: set(rows) for cell, rows in members.items()} == {
        cell: set(np.flatnonzero((cells == cell).any(axis=1))) for cell in np.unique(cells)
    }
    assert all((np.diff(rows) > 0).all() for rows in members.values())
    assert not list(members_of(np.empty((0, 3), np.int32)))


def test_there_is_at_least_one_cell():
    assert [cell_count(rows) for rows in (0, 1, 1_000_000)] == [1, 2, 2000]
