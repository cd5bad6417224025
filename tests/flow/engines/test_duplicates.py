from __future__ import annotations

import numpy as np
import pytest

from pipeline.flow.engines.base import EngineMapper
from pipeline.flow.engines.local_engine import LocalEngine
from pipeline.flow.engines.ray_engine import RayEngine
from pipeline.spec import EmbeddingSpec
from pipeline.table import VectorTable
from pipeline.table.duplicates import find, marks

pytestmark = pytest.mark.cluster


@pytest.fixture(params=["ray", "local"])
def mapper(request):
    if request.param == "local":
        return EngineMapper(LocalEngine())
    request.getfixturevalue("ray_cluster")
    return EngineMapper(RayEngine())


def test_an_engine_finds_what_one_process_does(mapper, tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "READ_ROWS", 100)
    monkeypatch.setattr(find, "BUNDLE_ROWS", 100)
    for module in (marks, find):
        monkeypatch.setattr(module, "EXACT_ROWS", 50)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((300, 16))
    vectors[1::3] = vectors[::3] + 0.05 * random.standard_normal((100, 16))
    table = VectorTable.create(str(tmp_path / "t"), spec=EmbeddingSpec(model="x"), dim=16, with_text=False)
    table.add([f"d{row}" for row in range(300)], vectors)
    for groups in (False, True):
        here, there = (table.duplicates(groups=groups, **how) for how in ({}, {"mapper": mapper}))
        assert there.equals(here)
        assert there.num_rows >= 95
