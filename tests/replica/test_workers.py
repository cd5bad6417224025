"""Batches side by side give what one after another gives, and leave torch's threads as they were."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from pipeline import EmbeddingSpec, Encoder
from pipeline.replica.workers import Workers


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_torch_keeps_its_threads_and_the_workers_share_them(two_threads):
    workers = Workers()
    assert workers.count == 2
    both = threading.Barrier(2, timeout=20)

    def look():
        both.wait()  # two at a time, or this times out
        return torch.get_num_threads()

    waiting = [workers.submit(look) for _ in range(2)]
    assert [wait() for wait in waiting] == [1, 1]
    assert torch.get_num_threads() == 2


def test_a_failure_reaches_who_waits(two_threads):
    def fail():
        raise ValueError("this batch")

    with pytest.raises(ValueError, match="this batch"):
        Workers().submit(fail)()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_do_not_depend_on_how_many_batches_are_computed_at_a_time(two_threads, texts, dtype):
    spec = EmbeddingSpec(dtype=dtype)
    parallel_batches = Encoder(spec, device="cpu", token_budget=256)
    torch.set_num_threads(1)
    alone = Encoder(spec, device="cpu", token_budget=256)
    assert (parallel_batches._replica.parallel_batches, alone._replica.parallel_batches) == (2, 1)
    for pooling_half in ("hidden_state", "routing_weights"):
        many, one = (getattr(each.encode_raw(texts * 4), pooling_half) for each in (parallel_batches, alone))
        if dtype == "float32":
            np.testing.assert_allclose(many, one, atol=1e-5, rtol=1e-5)
        else:
            cosine = (many * one).sum(1) / np.linalg.norm(many, axis=1) / np.linalg.norm(one, axis=1)
            assert cosine.min() > 0.99


def test_a_process_with_a_replica_ends():
    code = "from pipeline import Encoder; import torch; torch.set_num_threads(2); Encoder('mini').encode_raw(['a'] * 9)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
