"""Every way to combine halves, against vectors that are really combined so and compared by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.embedding import ablation
from pipeline.embedding.ablation import StoredHalves, ablate
from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import combine, unit
from pipeline.embedding.evaluation import precision_at
from pipeline.errors import UsageError

N, LABELS = 300, 4


@pytest.fixture(scope="module")
def labels():
    return np.arange(N) % LABELS


@pytest.fixture(scope="module")
def raw(labels):
    """Hidden states that follow the labels well, router scores that follow them badly."""
    random = np.random.default_rng(3)
    centres = random.standard_normal((LABELS, 12))
    hidden = centres[labels] * 0.6 + random.standard_normal((N, 12))
    routing = centres[labels][:, :8] * 0.1 + random.standard_normal((N, 8))
    return Halves(hidden.astype(np.float32), routing.astype(np.float32))


def stored(raw):
    norms = np.stack([np.linalg.norm(half, axis=1) for half in (raw.hidden, raw.routing)], axis=1)
    return StoredHalves(unit(raw.hidden), unit(raw.routing), norms.astype(np.float32))


@pytest.mark.parametrize("block", [7, 8192])
def test_precision_is_that_of_combined_vectors(raw, labels, monkeypatch, block):
    monkeypatch.setattr(ablation, "ROWS_PER_PRODUCT", block)
    monkeypatch.setattr(ablation, "QUERIES_PER_PRODUCT", 50)
    found = ablate(stored(raw), labels, np.arange(N), np.arange(N), ("sum", 0.3), alphas=(1.0,))
    assert [way.name for way in found.ways] == ["hs", "rw", "concat", "sum 0.3", "sum 1"]
    for way in found.ways:
        vectors = combine(raw, way.combine, way.alpha)
        assert way.precision == pytest.approx(precision_at(vectors, labels), abs=2e-3), way.name
        assert way.gain == pytest.approx(way.precision - found.used.precision)
    assert found.chance == pytest.approx((N / LABELS - 1) / (N - 1))


def test_the_best_way_stands_above_the_noise_or_not(raw, labels):
    clear = ablate(stored(raw), labels, np.arange(N), np.arange(N), ("rw", None))
    assert clear.best.precision > clear.used.precision
    assert clear.is_better
    assert clear.used.margin == 0
    random = np.random.default_rng(0).permutation(labels)
    assert not ablate(stored(raw), random, np.arange(N), np.arange(N), ("sum", 0.5)).is_better


def test_chunks_of_one_document_are_no_neighbours(raw, labels):
    halves, twice = stored(raw), np.repeat(np.arange(N), 2)
    doubled = StoredHalves(halves.hidden[twice], halves.routing[twice], halves.norms[twice])
    one = ablate(halves, labels, np.arange(N), np.arange(N), ("hs", None), alphas=())
    two = ablate(doubled, labels[twice], twice, np.arange(2 * N), ("hs", None), alphas=())
    assert two.used.precision >= one.used.precision - 0.02  # each neighbour comes twice, itself never
    assert two.used.precision < 0.99


def test_too_little_is_refused(raw, labels):
    with pytest.raises(UsageError, match="more than 10"):
        ablate(stored(raw), labels, np.zeros(N, np.int64), np.arange(N), ("hs", None))
    with pytest.raises(UsageError, match="same label"):
        ablate(stored(raw), np.zeros(N, np.int64), np.arange(N), np.arange(N), ("hs", None))
