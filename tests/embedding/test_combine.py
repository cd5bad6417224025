from __future__ import annotations

import numpy as np
import pytest

from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import combine, dimension, query_vector, split, unit
from pipeline.errors import UsageError

RNG = np.random.default_rng(3)
HALVES = Halves(RNG.normal(size=(30, 12)), RNG.normal(size=(30, 7)))


def cosines(rows):
    rows = unit(rows)
    return rows @ rows.T


@pytest.mark.parametrize("alpha", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("query_alpha", [None, 0.0, 0.5, 1.0, 4.0])
def test_one_column_serves_every_alpha(alpha, query_alpha):
    stored = combine(HALVES, "sum", alpha)
    query = query_vector(stored[0], "sum", 12, alpha, query_alpha)
    wanted = alpha if query_alpha is None else query_alpha
    expected = (cosines(HALVES.hidden)[0] + wanted * cosines(HALVES.routing)[0]) / (1 + wanted)
    np.testing.assert_allclose(query.scale * (stored @ query.vector), expected, atol=2e-6)


def test_concat_is_the_cosine_of_the_joined_halves():
    joined = np.concatenate([HALVES.hidden, HALVES.routing], axis=1)
    stored = combine(HALVES, "concat", None)
    np.testing.assert_allclose(stored @ stored.T, cosines(joined), atol=2e-6)


@pytest.mark.parametrize(("how", "rows"), [("hs", HALVES.hidden), ("rw", HALVES.routing)])
def test_one_half_alone(how, rows):
    stored = combine(HALVES, how, None)
    np.testing.assert_allclose(stored @ stored.T, cosines(rows), atol=2e-6)
    assert stored.shape[1] == dimension(how, 12, 7)


@pytest.mark.parametrize("how", ["sum", "concat", "hs", "rw"])
def test_stored_vectors_have_length_one(how):
    np.testing.assert_allclose(np.linalg.norm(combine(HALVES, how, None), axis=1), 1, atol=1e-6)


def test_the_halves_can_be_had_back():
    h, r = split(combine(HALVES, "sum", 0.3), "sum", 12)
    np.testing.assert_allclose(h, unit(HALVES.hidden), atol=1e-6)
    np.testing.assert_allclose(r, unit(HALVES.routing), atol=1e-6)


@pytest.mark.parametrize("how", ["concat", "hs", "rw"])
def test_only_sum_has_an_alpha_to_choose(how):
    with pytest.raises(UsageError, match="only 'sum'"):
        query_vector(combine(HALVES, how, None)[0], how, 12, None, 0.5)


@pytest.mark.parametrize("alpha", [-0.1, float("nan"), float("inf")])
def test_an_alpha_that_is_no_weight_is_refused(alpha):
    with pytest.raises(UsageError, match="0 or more"):
        query_vector(combine(HALVES, "sum", 1.0)[0], "sum", 12, 1.0, alpha)


def test_nothing_to_say_stays_zero():
    assert not combine(Halves(np.zeros((1, 3)), np.zeros((1, 2))), "sum", 1.0).any()
