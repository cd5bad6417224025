"""What only a GPU can show; skipped where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline import EmbeddingSpec, Encoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def cosines(a, b):
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


@pytest.mark.parametrize(("prompt", "pooling"), [("{text}", "mean"), ("prompteol", "last")])
def test_float32_gives_what_a_cpu_gives(texts, prompt, pooling):
    spec = EmbeddingSpec(dtype="float32", prompt=prompt, pooling=pooling)
    torch.backends.cuda.matmul.allow_tf32 = False
    here, there = Encoder(spec, device="cpu").encode_raw(texts), Encoder(spec, device="cuda").encode_raw(texts)
    np.testing.assert_allclose(there.hidden_state, here.hidden_state, atol=1e-4)
    np.testing.assert_allclose(there.routing_weights, here.routing_weights, atol=1e-4)


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
def test_bf16_is_packed_and_the_same_in_any_batch(texts, quantization):
    encoder = Encoder(EmbeddingSpec(quantization=quantization), device="cuda")
    assert encoder._replica.layout == "packed"
    together = encoder.encode(texts)
    alone = np.stack([encoder.encode(text) for text in texts])
    assert np.median(cosines(together, alone)) >= 0.999
    assert cosines(together, alone).min() >= 0.99


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantized_experts_are_the_same_numbers_on_both_devices(texts, quantization):
    spec = EmbeddingSpec(dtype="float32", quantization=quantization)
    here, there = Encoder(spec, device="cpu").encode_raw(texts), Encoder(spec, device="cuda").encode_raw(texts)
    assert cosines(there.hidden_state, here.hidden_state).min() >= 0.999


def test_running_out_of_memory_halves_the_batches(texts):
    encoder = Encoder(EmbeddingSpec(), device="cuda", token_budget=1 << 30)
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(max(free - (64 << 20), 1), dtype=torch.uint8, device="cuda")
    vectors = encoder.encode(texts * 100)
    del hog
    assert np.isfinite(vectors).all()
