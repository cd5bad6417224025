from __future__ import annotations

import pytest
import torch
from transformers.models.olmoe.modeling_olmoe import OlmoeRMSNorm

from pipeline.replica.forward.norms import ROWS_PER_PIECE, norms_in_pieces


@pytest.mark.parametrize(
    "shape",
    [
        (1, 5, 8),
        (1, 2 * ROWS_PER_PIECE, 8),
        (1, 3 * ROWS_PER_PIECE + 1, 2, 8),
        (2, 3 * ROWS_PER_PIECE, 8),
        (3 * ROWS_PER_PIECE, 8),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pieces_give_the_same_bits(shape, dtype):
    model = torch.nn.Sequential(OlmoeRMSNorm(8)).to(dtype)
    torch.nn.init.normal_(model[0].weight)
    states = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.inference_mode():
        whole = model(states)
        norms_in_pieces(model)
        pieces = model(states)
    assert torch.equal(whole, pieces)
