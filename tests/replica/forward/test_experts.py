from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GptOssConfig, MixtralConfig, OlmoeConfig
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.mixtral.modeling_mixtral import MixtralExperts
from transformers.models.olmoe.modeling_olmoe import OlmoeExperts

from pipeline.replica.forward.experts import grouped_forward

EXPERTS = {
    "plain": (OlmoeExperts, OlmoeConfig(hidden_size=16, intermediate_size=24, num_experts=5)),
    "mixtral": (MixtralExperts, MixtralConfig(hidden_size=16, intermediate_size=24, num_local_experts=5)),
    "biased and transposed": (GptOssExperts, GptOssConfig(hidden_size=16, intermediate_size=24, num_local_experts=5)),
}


def experts(kind):
    cls, config = EXPERTS[kind]
    config._experts_implementation = "eager"
    torch.manual_seed(1)
    module = cls(config)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


@pytest.mark.parametrize("kind", sorted(EXPERTS))
@settings(max_examples=15)
@given(tokens=st.integers(1, 150), choices=st.integers(1, 3), seed=st.integers(0, 99))
def test_padding_the_groups_changes_no_result(kind, tokens, choices, seed):
    module = experts(kind)
    torch.manual_seed(seed)
    states = torch.randn(tokens, 16)
    index = torch.stack([torch.randperm(5)[:choices] for _ in range(tokens)])
    weights = torch.rand(tokens, choices)
    with torch.no_grad():
        expected = module(states, index, weights)
        torch.testing.assert_close(grouped_forward(module, states, index, weights), expected, rtol=1e-4, atol=1e-5)
