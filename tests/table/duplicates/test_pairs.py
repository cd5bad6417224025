from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.embedding.combine import unit
from pipeline.errors import UsageError
from pipeline.table.duplicates import pairs as module
from pipeline.table.duplicates.pairs import Comparison, links


def near(rows, dim=12, seed=0):
    """Vectors, every third of which is near the one before."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((rows, dim))
    vectors[2::3] = vectors[1::3][: len(vectors[2::3])] + random.standard_normal((len(vectors[2::3]), dim)) * 0.1
    return unit(vectors)


def brute_force(vectors, score, documents=None):
    exact = vectors.astype(np.float64)
    alike = exact @ exact.T >= score
    if documents is not None:
        alike &= (documents[:, None] != documents) | (documents[:, None] < 0)
    return {tuple(map(int, pair)) for pair in np.argwhere(np.triu(alike, 1))}


def as_set(pairs):
    return {tuple(map(int, pair)) for pair in pairs.rows}


def partition(links, count):
    ones = np.ones(len(links), np.int8)
    return connected_components(coo_array((ones, (links[:, 0], links[:, 1])), shape=(count, count)), directed=False)[1]


@given(
    rows=st.integers(0, 60),
    seed=st.integers(0, 9),
    score=st.sampled_from([0.3, 0.9, 0.98]),
    block=st.integers(1, 5000),
    chunked=st.booleans(),
)
def test_all_pairs_are_found_each_once(rows, seed, score, block, chunked):
    vectors = near(rows, seed=seed)
    documents = np.random.default_rng(seed).integers(-1, 9, rows) if chunked else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SCORES_PER_PRODUCT", block)
        found = Comparison(score, connected=False).pairs(vectors, documents)
        linked = Comparison(score, connected=True).pairs(vectors, documents)
    expected = brute_force(vectors, score, documents)
    assert len(found) == len(expected)
    assert as_set(found) == expected
    assert found.scores == pytest.approx((vectors[found.rows[:, 0]] * vectors[found.rows[:, 1]]).sum(axis=1), abs=1e-6)
    assert (partition(linked.rows, rows) == partition(found.rows, rows)).all()


def test_vectors_in_cells_give_each_pair_once_and_hardly_miss_one(monkeypatch):
    monkeypatch.setattr(module, "EXACT_ROWS", 100)
    vectors = near(3000)
    found = Comparison(0.98, connected=False).pairs(vectors)
    expected = brute_force(vectors, 0.98)
    assert len(as_set(found)) == len(found)
    assert as_set(found) <= expected
    assert len(found) > 0.97 * len(expected) > 100
    linked = Comparison(0.98, connected=True).pairs(vectors)
    assert (partition(linked.rows, 3000) == partition(found.rows, 3000)).all()


def test_vectors_that_no_cell_tells_apart_are_all_compared(monkeypatch):
    monkeypatch.setattr(module, "EXACT_ROWS", 10)
    vectors = np.tile(near(1), (60, 1))
    assert len(Comparison(0.98, connected=False).pairs(vectors)) == 60 * 59 // 2
    assert len(np.unique(partition(Comparison(0.98, connected=True).pairs(vectors).rows, 60))) == 1


def test_too_many_pairs_are_refused_but_connect(monkeypatch):
    monkeypatch.setattr(module, "MAX_PAIRS", 1000)
    vectors = np.tile(near(1), (60, 1))
    with pytest.raises(UsageError, match=r"more than 1,000 pairs score 0\.98 or more: ask for a h"):
        Comparison(0.98, connected=False).pairs(vectors)
    assert len(Comparison(0.98, connected=True).pairs(vectors)) < 500


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=60))
def test_links_connect_what_the_pairs_connect_and_are_few(given_pairs):
    rows = np.array([pair for pair in given_pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)
    few = links(rows)
    assert (partition(few, 21) == partition(rows, 21)).all()
    assert len(few) == 21 - len(np.unique(partition(rows, 21)))
