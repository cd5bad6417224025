from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.calibration import Calibration, choose_sample
from pipeline.errors import UsageError

RNG = np.random.default_rng(5)
HIDDEN, ROUTING = RNG.normal(3, 2, (200, 6)).astype(np.float32), RNG.random((200, 4)).astype(np.float32)


def test_calibrated_values_have_mean_zero_and_deviation_one():
    halves = Calibration.fit(HIDDEN, ROUTING).apply(HIDDEN, ROUTING)
    for half in halves:
        np.testing.assert_allclose(half.mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(half.std(axis=0), 1, atol=1e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3, 1e-30, 3e8])
def test_a_constant_dimension_gives_zero_and_not_noise(constant):
    routing = ROUTING.copy()
    routing[:, 2] = constant
    calibration = Calibration.fit(HIDDEN, routing)
    routing[:, 2] = np.nextafter(np.float32(constant), np.float32(np.inf))
    assert not calibration.apply(HIDDEN, routing).routing[:, 2].any()


def test_a_small_but_real_deviation_counts():
    routing = ROUTING * 1e-5
    np.testing.assert_allclose(
        Calibration.fit(HIDDEN, routing).apply(HIDDEN, routing).routing.std(axis=0), 1, atol=1e-3
    )


def test_a_calibration_survives_arrow_and_keeps_its_hash():
    calibration = Calibration.fit(HIDDEN, ROUTING)
    again = Calibration.from_arrow(calibration.to_arrow())
    assert again.hash == calibration.hash
    assert again.sample_size == 200
    assert Calibration.fit(HIDDEN + 1, ROUTING).hash != calibration.hash


def test_one_document_is_no_sample():
    with pytest.raises(UsageError, match="at least two"):
        Calibration.fit(HIDDEN[:1], ROUTING[:1])
    with pytest.raises(UsageError, match="texts that differ"):
        Calibration.fit(np.repeat(HIDDEN[:1], 4, axis=0), np.repeat(ROUTING[:1], 4, axis=0))


@given(st.lists(st.text(max_size=4), max_size=60), st.randoms(), st.integers(0, 20))
def test_the_sample_depends_on_no_order_and_on_no_split(texts, random, size):
    shuffled = random.sample(texts, len(texts))
    chunks = pa.chunked_array([pa.array(shuffled[:3], pa.string()), pa.array(shuffled[3:], pa.string())])
    assert choose_sample(pa.array(texts, pa.string()), size) == choose_sample(chunks, size)
    assert len(choose_sample(chunks, size)) == min(size, len(set(texts)))
