"""Promise 2 over many runs: whatever happens to corpus, table and process, every row is accounted for, once."""

from __future__ import annotations

import contextlib
import secrets

import pytest

from pipeline.flow.engines.local_engine import LocalEngine


class KeptOpen(LocalEngine):
    """A local engine whose processes outlive its runs, as they are started too often otherwise."""

    replica_modules = ()

    def __exit__(self, *error):
        pass

    def close(self):
        super().__exit__(None, None, None)


@pytest.fixture(scope="module")
def histories(load):
    return load("flow/histories.py")


@pytest.fixture(scope="module")
def spec(stub_model):
    return {"model": stub_model, "max_tokens": 8, "pooling": "last"}


@pytest.fixture(scope="module")
def in_process(stub, load):
    return stub.planted(load("flow/in_process.py").InProcessEngine())


@pytest.fixture(scope="module")
def local(stub):
    with contextlib.closing(KeptOpen()) as engine:
        yield stub.planted(engine)


def live(histories, engine, spec, folder, seed):
    with pytest.MonkeyPatch.context() as patch:
        fate = histories.Fate()
        histories.mortal(patch, fate)
        history = histories.History(folder, spec, seed, fate, engine)
        for name, value in history.bounds().items():
            patch.setattr(name, value)
        try:
            history.run()
        except Exception as error:
            raise AssertionError(f"history {seed}:\n" + "\n".join(map(str, history.log))) from error


@pytest.mark.parametrize("seed", [*range(10), 126])
def test_a_history_ends_with_every_row_accounted_for(histories, in_process, spec, tmp_path, seed):
    live(histories, in_process, spec, tmp_path, seed)


@pytest.mark.parametrize("seed", [200, 201])
def test_a_history_on_the_local_engine_ends_with_every_row_accounted_for(histories, local, spec, tmp_path, seed):
    live(histories, local, spec, tmp_path, seed)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ["in_process", "local"])
def test_many_histories(histories, spec, tmp_path, request, engine):
    first = secrets.randbelow(10**9)
    for seed in range(first, first + 150):
        live(histories, request.getfixturevalue(engine), spec, tmp_path / str(seed), seed)
