from __future__ import annotations

import pytest
import torch

from pipeline.replica.quantization.weights import Int8Weight

NF4 = [
    *(-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0),
    *(0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0),
]
"""The sixteen values of NF4 (QLoRA, arXiv 2305.14314, appendix E)."""


@pytest.fixture(scope="session")
def by_hand():
    """What the packed numbers stand for, from the formats' definitions: [experts, rows, columns]."""
    return _by_hand


def _by_hand(weight):
    if isinstance(weight, Int8Weight):
        return weight.packed.float() * weight.scale
    halves = torch.stack([weight.packed >> 4, weight.packed & 15], dim=2).flatten(1).long()
    values = torch.tensor(NF4)[halves].view(len(weight), -1, 64) * weight.scale[:, :, None]
    experts, rows, columns = weight.shape
    return values.view(experts, -1)[:, : rows * columns].view(experts, rows, columns)
