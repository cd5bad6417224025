from __future__ import annotations

import pytest
import torch

from pipeline.replica.quantization.weights import quantized

CPU = torch.device("cpu")
ERROR = {"nf4": (0.05, 0.12), "int8": (0.001, 0.02)}
"""The least and the largest error of a quantized matrix, as a share of its norm."""


@pytest.mark.parametrize("shape", [(3, 16, 64), (2, 10, 6), (2, 128, 32)], ids=str)
@pytest.mark.parametrize("how", ["nf4", "int8"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dense_matrices_are_what_the_format_says(by_hand, shape, how, dtype):
    torch.manual_seed(0)
    weight = torch.randn(shape).to(dtype)
    stored = quantized(weight, how, dtype=dtype, device=CPU)
    expected = by_hand(stored)
    slack = torch.finfo(dtype).eps * expected.abs().max()
    out = torch.empty(shape, dtype=dtype)
    stored.write(out)
    for expert in range(len(stored)):
        assert stored[expert].dtype == dtype
        torch.testing.assert_close(stored[expert].float(), expected[expert], rtol=0, atol=max(1e-6, float(slack)))
        assert torch.equal(out[expert], stored[torch.tensor(expert)])
    error = (expected - weight.float()).norm() / weight.float().norm()
    assert ERROR[how][0] < error < ERROR[how][1]


def test_large_matrices_are_quantized_in_pieces_that_change_nothing(monkeypatch):
    weight = torch.randn(2, 40, 96)
    for how in ("nf4", "int8"):
        whole = quantized(weight, how, dtype=torch.float32, device=CPU)
        monkeypatch.setattr("pipeline.replica.quantization.weights.ELEMENTS_PER_PIECE", 640)
        pieces = quantized(weight, how, dtype=torch.float32, device=CPU)
        monkeypatch.undo()
        assert torch.equal(whole.packed, pieces.packed)
        assert torch.equal(whole.scale, pieces.scale)


def test_formats_are_those_of_bitsandbytes():
    from bitsandbytes import functional

    weight = torch.randn(1, 64, 128)
    packed, state = functional.quantize_4bit(weight[0], blocksize=64, quant_type="nf4")
    ours = quantized(weight, "nf4", dtype=torch.float32, device=CPU)
    assert torch.equal(ours.packed[0], packed.view(-1))
    assert torch.equal(ours.scale[0], state.absmax)
    rows, scales, _ = functional.int8_vectorwise_quant(weight[0])
    ours = quantized(weight, "int8", dtype=torch.float32, device=CPU)
    assert (ours.packed[0] == rows).float().mean() > 0.99  # they divide the other way round
    torch.testing.assert_close(ours.scale[0, :, 0], scales / 127)


@pytest.mark.parametrize("dead", [0.0, 1e-30])
def test_an_expert_of_nothing_stays_nothing(dead):
    for how in ("nf4", "int8"):
        stored = quantized(torch.full((1, 8, 64), dead), how, dtype=torch.float32, device=CPU)
        assert torch.isfinite(stored[0]).all()
        assert stored[0].abs().max() <= 2 * dead
