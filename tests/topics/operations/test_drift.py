from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.operations.drift import Drift, NearestCounts, Thresholds, decide, divergence

counts = st.integers(1, 6).flatmap(
    lambda k: st.tuples(*2 * (st.lists(st.integers(0, 1000), min_size=k, max_size=k).map(np.array),))
)
CALM = Drift(
    fitted=10_000,
    added=1000,
    baseline=0.05,
    reject_rate=0.06,
    rejects=60,
    fresh_rejects=60,
    divergence=0.01,
    growth=0.1,
)


@given(counts)
def test_divergence_is_symmetric_and_between_equal_and_disjoint(drawn):
    p, q = drawn
    value = divergence(p, q)
    assert 0 <= value <= 1
    assert value == pytest.approx(divergence(q, p))
    assert divergence(p, 3 * p) == pytest.approx(0, abs=1e-12)
    if p.sum() and q.sum():
        assert divergence(np.append(p, 0 * q), np.append(0 * p, q)) == pytest.approx(1)


def test_divergence_is_measured_in_bits():
    from scipy.spatial.distance import jensenshannon

    p, q = np.array([10, 60, 30]), np.array([1, 1, 98])
    assert divergence(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2**32 - 1))
def test_tallies_of_parts_add_up_to_that_of_the_whole(first, second, seed):
    rng = np.random.default_rng(seed)
    nearest, score = rng.integers(0, 4, first + second), rng.uniform(0, 1, first + second).astype(np.float32)
    floor = np.array([0.2, 0.4, 0.6, 1.1], dtype=np.float32)
    whole = NearestCounts.of(nearest, score, floor)
    parts = NearestCounts.of(nearest[:first], score[:first], floor) + NearestCounts.of(
        nearest[first:], score[first:], floor
    )
    assert np.array_equal(whole.accepted, parts.accepted)
    assert whole.mean == pytest.approx(parts.mean)
    assert whole.documents == parts.documents == first + second
    assert whole.rejected == np.sum(score < floor[nearest])
    assert whole.accepted[3] == 0


def test_both_sides_are_measured_by_the_same_rule():
    rng = np.random.default_rng(0)
    floor, ids, mad = np.array([0.5, 0.5]), np.array([7, 9]), np.array([0.1, 0.1])

    def tally(mean, count, topic):
        return NearestCounts.of(np.full(count, topic), rng.normal(mean, 0.01, count), floor)

    fitted = tally(0.8, 100, 0) + tally(0.8, 90, 1) + tally(0.2, 10, 1)
    added = tally(0.7, 30, 0) + tally(0.8, 5, 1) + tally(0.1, 15, 1)
    drift = Drift.between(fitted, added, ids=ids, mad=mad, fresh_rejects=4)
    assert (drift.fitted, drift.added, drift.rejects, drift.fresh_rejects) == (200, 50, 15, 4)
    assert (drift.baseline, drift.reject_rate, drift.growth) == pytest.approx((0.05, 0.3, 0.25))
    assert drift.shifts == pytest.approx({7: -1}, abs=0.1), "too few were added to topic 9 to say"
    assert drift.to_json()["shifts"] == drift.shifts
    nothing = Drift.between(fitted, NearestCounts.of(np.empty(0, dtype=int), np.empty(0), floor), ids=ids, mad=mad)
    assert (nothing.growth, nothing.reject_rate, nothing.divergence, nothing.shifts) == (0, 0, 0, {})


@pytest.mark.parametrize(
    ("figures", "action", "reason"),
    [
        ({}, "nothing", "no threshold"),
        ({"growth": 0.51}, "refit", "growth since the fit is 0.51, above 0.5"),
        ({"divergence": 0.101}, "refit", "shares is 0.101, above 0.1"),
        ({"rejects": 499, "fresh_rejects": 499, "reject_rate": 0.5}, "nothing", "no threshold"),
        ({"rejects": 500, "fresh_rejects": 500, "reject_rate": 0.5}, "births", "500 new rejects"),
        ({"rejects": 500, "fresh_rejects": 0, "reject_rate": 0.5}, "refit", "50.0% of the added .* above 10.0%"),
        ({"rejects": 500, "fresh_rejects": 0, "reject_rate": 0.09}, "nothing", "no threshold"),
        ({"rejects": 500, "fresh_rejects": 500, "growth": 0.6, "divergence": 0.2}, "refit", "growth"),
    ],
)
def test_the_decision_and_its_reason(figures, action, reason):
    decision = decide(replace(CALM, **figures), Thresholds(), min_cluster_size=15)
    assert decision.action == action
    assert any(re.search(reason, text) for text in decision.reasons), decision.reasons


def test_more_rejects_are_asked_for_where_topics_are_large():
    assert Thresholds().enough(15) == 500
    assert Thresholds().enough(50) == 1000
    drift = replace(CALM, rejects=600, fresh_rejects=600)
    assert decide(drift, Thresholds(), 15).action == "births"
    assert decide(drift, Thresholds(), 50).action == "nothing"
    assert decide(drift, Thresholds(births=700), 15).action == "nothing"
