from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.replica.forward.attention import SEQUENCE_STEP, TILE, Segments, packed_attention

LENGTHS = st.lists(st.integers(1, 3 * TILE + 5), min_size=1, max_size=5)


def packed(lengths, heads, shared, dtype, seed):
    """Random queries, keys and values [1, heads, T, D] of packed sequences with filler behind them."""
    generator = torch.Generator().manual_seed(seed)
    total = sum(lengths) + SEQUENCE_STEP
    sizes = ((1, heads, total, 8), (1, shared, total, 8), (1, shared, total, 8))
    return [torch.randn(size, generator=generator).to(dtype) for size in sizes]


def by_definition(query, key, value, lengths, scale, window):
    """Softmax attention with a mask of all tokens by all tokens, in float64."""
    query, key, value = (part[0].double() for part in (query, key, value))
    key, value = (part.repeat_interleave(len(query) // len(part), 0) for part in (key, value))
    total = sum(lengths)
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    distance = torch.arange(total)[:, None] - torch.arange(total)
    seen = (owner[:, None] == owner) & (distance >= 0) & (distance < (window or total))
    scores = (query[:, :total] @ key[:, :total].mT * scale).masked_fill(~seen, -torch.inf)
    return (scores.softmax(-1) @ value[:, :total]).transpose(0, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
@settings(max_examples=20)
@given(lengths=LENGTHS, shared=st.sampled_from([2, 4]), window=st.sampled_from([None, 7, TILE, 200]))
def test_each_sequence_sees_itself_alone(dtype, tolerance, lengths, shared, window):
    parts = packed(lengths, 4, shared, dtype, seed=len(lengths))
    ends = torch.tensor(lengths).cumsum(0).tolist()
    segments = Segments((*ends, ends[-1] + SEQUENCE_STEP), torch.tensor([0]), max(lengths))
    module = torch.nn.Module()
    out, _ = packed_attention(module, *parts, None, scaling=0.4, sliding_window=window, segments=segments)
    expected = by_definition(*parts, lengths, 0.4, window)
    assert out.shape == (1, sum(lengths) + SEQUENCE_STEP, 4, 8)
    assert out.isfinite().all()
    torch.testing.assert_close(out[0, : sum(lengths)].double(), expected, rtol=0, atol=tolerance)


def test_neighbours_change_no_bit():
    parts = packed([150, 40, 200], 2, 2, torch.bfloat16, seed=3)
    together = Segments((150, 190, 390, 390 + SEQUENCE_STEP), torch.tensor([0]), 200)
    whole, _ = packed_attention(torch.nn.Module(), *parts, None, segments=together)
    alone = [torch.cat([part[:, :, 190:390], torch.zeros_like(part[:, :, :SEQUENCE_STEP])], dim=2) for part in parts]
    single, _ = packed_attention(
        torch.nn.Module(), *alone, None, segments=Segments((200, 200 + SEQUENCE_STEP), torch.tensor([0]), 200)
    )
    assert torch.equal(whole[:, 190:390], single[:, :200])


@pytest.mark.parametrize("unknown", ["softcap", "s_aux", "position_bias"])
def test_what_it_does_not_know_it_refuses(unknown):
    parts = packed([4], 2, 2, torch.float32, seed=0)
    segments = Segments((4, 4 + SEQUENCE_STEP), torch.tensor([0]), SEQUENCE_STEP)
    with pytest.raises(NotImplementedError, match=unknown):
        packed_attention(torch.nn.Module(), *parts, None, segments=segments, **{unknown: torch.ones(1)})
