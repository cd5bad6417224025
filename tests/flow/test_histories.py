"""Promise 2 over many runs: whatever happens to corpus, table and process, every row is accounted for, once."""

from __future__ import annotations

import secrets

import pytest


@pytest.fixture(scope="module")
def stub(load):
    return load("bench/stub.py")


@pytest.fixture(scope="module")
def histories(load):
    return load("flow/histories.py")


@pytest.fixture(scope="module")
def spec(stub, tmp_path_factory):
    model = stub.checkpoint(tmp_path_factory.mktemp("stub") / "model", [f"w{number}" for number in range(40)])
    return {"model": model, "max_tokens": 8, "pooling": "last"}


def live(histories, stub, spec, folder, seed):
    with pytest.MonkeyPatch.context() as patch:
        fate = histories.Fate()
        histories.without_ray(patch, stub, fate)
        history = histories.History(folder, spec, seed, fate)
        for name, value in history.bounds().items():
            patch.setattr(name, value)
        try:
            history.run()
        except Exception as error:
            raise AssertionError(f"history {seed}:\n" + "\n".join(map(str, history.log))) from error


@pytest.mark.parametrize("seed", [*range(10), 126])
def test_a_history_ends_with_every_row_accounted_for(histories, stub, spec, tmp_path, seed):
    live(histories, stub, spec, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_histories(histories, stub, spec, tmp_path):
    first = secrets.randbelow(10**9)
    for seed in range(first, first + 100):
        live(histories, stub, spec, tmp_path / str(seed), seed)
