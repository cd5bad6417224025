from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.clustering.documents import MIN_SAMPLED_PER_FILE, stratified


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 6)), min_size=2, max_size=200), st.data())
def test_a_sample_gives_each_group_its_share(rows, data):
    hashes = np.array([hashed for hashed, _ in rows], dtype=np.uint64)
    groups = np.array([group for _, group in rows])
    limit = data.draw(st.integers(1, len(rows) - 1))
    groups = np.unique(groups, return_inverse=True)[1]
    chosen = stratified(hashes, groups, limit)
    assert len(chosen) == len(set(chosen.tolist())) == limit
    assert (np.diff(chosen) > 0).all()
    sizes, taken = np.bincount(groups), np.bincount(groups[chosen], minlength=groups.max() + 1)
    least = np.minimum(sizes, MIN_SAMPLED_PER_FILE)
    if least.sum() <= limit:
        assert (taken >= least).all()
    for group in range(len(sizes)):  # within a group the lowest hashes
        inside, outside = hashes[chosen[groups[chosen] == group]], np.delete(hashes, chosen)
        others = outside[np.delete(groups, chosen) == group]
        assert not len(inside) or not len(others) or inside.max() <= others.min()


def test_large_files_give_to_a_sample_in_proportion():
    groups = np.repeat([0, 1, 2], [6000, 3000, 12])
    hashes = np.random.default_rng(0).permutation(len(groups)).astype(np.uint64)
    taken = np.bincount(groups[stratified(hashes, groups, 900)])
    assert taken.tolist() == pytest.approx([597, 298, 5], abs=2)
    everything = stratified(hashes, None, 900)
    assert set(hashes[everything].tolist()) == set(range(900))
