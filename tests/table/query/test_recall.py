"""Search with an index finds what exact search finds: on rows whose codes alone do not suffice."""

from __future__ import annotations

import pytest

ROWS, DIM = 20_000, 64


@pytest.fixture(scope="module")
def truth(load):
    return load("bench/truth.py")


@pytest.fixture(scope="module")
def source(load):
    return load("bench/clusters.py").Clusters(DIM, block=5000)


@pytest.fixture(scope="module")
def table(load, source, tmp_path_factory):
    made = load("bench/clusters.py").write(str(tmp_path_factory.mktemp("recall") / "docs"), source, ROWS)
    made.index(min_bytes=0)
    return made


@pytest.mark.parametrize(
    ("column", "values", "alpha"),
    [(None, 1, None), (None, 1, 0.0), (None, 1, 0.25), (None, 1, 4.0), ("tenth", 10, None), ("hundredth", 100, None),
     ("rare", 10_000, None)],
)  # fmt: skip
def test_search_finds_what_exact_search_finds(truth, source, table, column, values, alpha):
    setting = truth.Setting("", source.queries(20), alpha, column, values)
    truth.find_truth(table, [setting])
    found = truth.measure(table, setting)
    assert found["recall"] >= 0.98
    assert found["error"] <= 2e-4


def test_the_codes_of_the_index_alone_would_miss_some(truth, source, table):
    setting = truth.Setting("", source.queries(40))
    truth.find_truth(table, [setting])
    assert truth.raw_recall(table, setting) < 0.99
