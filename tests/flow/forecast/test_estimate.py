from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from pipeline.flow.forecast import estimate as module
from pipeline.flow.forecast.estimate import LEAST_SPREAD, MOST_SPREAD, Setting, estimate
from pipeline.flow.forecast.rate import Rate
from pipeline.flow.forecast.sample import Sample, Stratum

SETTING = Setting(replicas=1, with_ray=False, on_gpus=True, calibrates=False, dimension=320, with_text=True, price=None)
RATE = Rate(1000.0, 0.0, "as given", load_seconds=2.0)


def sample_of(lengths, rows=10_000, read_seconds=0.0):
    """A stratum of 100 documents for each of `lengths`, in tokens."""
    strata = []
    for length in lengths:
        documents = pa.table({"id": [f"{row}" for row in range(100)], "text": ["word " * length] * 100})
        tokens = pa.table({"tokens": [[1] * length] * 100})
        strata.append(Stratum(rows / len(lengths), 0, 100, documents, tokens))
    return Sample(tuple(strata), rows, is_counted=True, read_seconds=read_seconds)


def test_time_is_start_up_and_tokens_over_rate():
    expected = estimate(sample_of([10, 30]), RATE, SETTING)
    assert expected.tokens == 200_000
    assert expected.embedding_seconds == pytest.approx(200)
    assert expected.seconds == pytest.approx(expected.startup_seconds + 200)
    assert expected.startup_seconds == pytest.approx(2.0 + module.LOCAL_SECONDS)


def test_a_new_table_calibrates_on_documents_that_are_not_embedded_again():
    old, new = (estimate(sample_of([20]), RATE, replace(SETTING, calibrates=given)) for given in (False, True))
    assert new.calibration_seconds == pytest.approx(2048 * 20 / 1000)
    assert new.seconds == pytest.approx(old.seconds)
    small = estimate(sample_of([20], rows=100), RATE, replace(SETTING, calibrates=True))
    assert small.embedding_seconds == 0


def test_replicas_share_the_work_and_the_cost_is_theirs():
    one, four = (estimate(sample_of([20]), RATE, replace(SETTING, replicas=given, price=3.6)) for given in (1, 4))
    assert four.embedding_seconds == pytest.approx(one.embedding_seconds / (4 * module.EFFICIENCY))
    assert one.cost == pytest.approx(one.seconds / 1000)
    assert four.cost == pytest.approx(4 * four.seconds / 1000)
    assert four.least_cost < four.cost < four.most_cost


def test_reading_takes_its_time_from_the_cores_where_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 2)
    given = sample_of([20], read_seconds=0.8)  # of 2,000 tokens
    beside, shared = (estimate(given, RATE, replace(SETTING, on_gpus=gpu)) for gpu in (True, False))
    assert shared.embedding_seconds == pytest.approx(beside.embedding_seconds * 1.2)


def test_the_range_is_as_wide_as_the_sample_is_unsure():
    def width(expected):
        return (expected.most_seconds - expected.seconds) / expected.seconds

    assert width(estimate(sample_of([20] * 8), RATE, SETTING)) == pytest.approx(LEAST_SPREAD)
    unsure = width(estimate(sample_of([18, 22] * 4), RATE, SETTING))
    assert LEAST_SPREAD < unsure < MOST_SPREAD
    assert width(estimate(sample_of([1, 100]), RATE, SETTING)) == pytest.approx(MOST_SPREAD)


def test_storage_grows_with_rows_vectors_and_texts():
    small, large = (estimate(sample_of([20], rows=rows), RATE, SETTING) for rows in (10_000, 1_000_000))
    assert large.table_bytes == pytest.approx(100 * small.table_bytes, rel=0.01)
    assert large.table_bytes > 1_000_000 * 2 * 320
    assert large.index_bytes > 100 * small.index_bytes  # vectors get an index, too
    without = estimate(sample_of([20]), RATE, replace(SETTING, with_text=False))
    assert without.table_bytes < small.table_bytes
    assert without.index_bytes == 0
