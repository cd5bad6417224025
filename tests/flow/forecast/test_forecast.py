from __future__ import annotations

import pytest

from pipeline.flow.embed import plan_embed
from pipeline.flow.forecast.forecast import forecast
from pipeline.flow.progress import Quiet


@pytest.fixture
def forecast_of(lab, tmp_path):
    lab.write(tmp_path / "in" / "a.parquet", lab.documents(300))

    def forecast_of(rate=None, **options):
        task = plan_embed(str(tmp_path / "in"), tmp_path / "lake" / "docs", lab.SPEC, **options)
        return forecast(task, Quiet(), rate=rate)

    return forecast_of


def test_the_rate_is_measured_with_the_model(forecast_of, tmp_path):
    expected = forecast_of()
    assert expected.rate_origin.startswith("measured here")
    assert 50 < expected.tokens_per_second < 1_000_000
    assert expected.rows == 300
    assert expected.calibration_seconds > 0
    assert not (tmp_path / "lake").exists()


def test_a_rate_that_is_given_needs_no_model_and_follows_the_engine(forecast_of):
    local, ray = (forecast_of(rate=1e6, engine=engine) for engine in ("local", "ray"))
    assert local.tokens_per_second == 1e6
    assert ray.startup_seconds > local.startup_seconds
    assert forecast_of(rate=1e6, replicas=6).replicas == 6
