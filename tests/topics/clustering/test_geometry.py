from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import TopicError
from pipeline.topics.clustering.geometry import Geometry, unit_rows


def test_documents_far_from_every_centroid_are_rejected():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 50)
    vectors = unit_rows((np.eye(6)[labels] + rng.normal(scale=0.1, size=(100, 6))).astype(np.float32))
    geometry = Geometry.of(vectors, labels).renamed(np.array([11, 5]))
    assigned = geometry.assign(vectors)
    assert np.array_equal(assigned.nearest, np.array([11, 5])[labels])
    assert (assigned.topic != -1).mean() > 0.9
    assert (assigned.margin > 0).all()
    assert geometry.assign(np.eye(6, dtype=np.float32)[5:]).topic.tolist() == [-1]
    with pytest.raises(TopicError, match="vectors of 3 dimensions, topics of 6"):
        geometry.assign(np.ones((1, 3), dtype=np.float32))


def test_near_copies_do_not_reject_their_own():
    vectors = unit_rows(np.ones((20, 512), dtype=np.float32)).astype(np.float16).astype(np.float32)
    vectors[::2, 0] *= np.float32(1.001)
    assigned = Geometry.of(unit_rows(vectors), np.zeros(20, dtype=np.int64)).assign(unit_rows(vectors))
    assert (assigned.topic == 0).all()
