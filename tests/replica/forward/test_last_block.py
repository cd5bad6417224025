from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, DeepseekV3Config, MixtralConfig, Qwen2MoeConfig

from pipeline.replica.batch import TokenBatch
from pipeline.replica.forward.last_block import LastBlock, _block_of
from pipeline.replica.replica import Replica

SIZES = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 32,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
MODELS = {
    "mixtral": MixtralConfig(**SIZES, num_local_experts=4),
    "qwen2_moe": Qwen2MoeConfig(**SIZES, num_experts=4, num_experts_per_tok=2, shared_expert_intermediate_size=16),
    "deepseek_v3": DeepseekV3Config(
        **SIZES, **LATENT, n_routed_experts=4, num_experts_per_tok=2, n_group=1, topk_group=1, first_k_dense_replace=1
    ),
}
BATCH = TokenBatch(
    np.random.default_rng(0).integers(3, 90, 90, dtype=np.int32),
    np.array([7, 50, 1, 32]),
    np.zeros(4, np.int64),
    np.array([7, 50, 1, 32]),
)


def build(name):
    torch.manual_seed(0)
    return AutoModel.from_config(MODELS[name]).eval()


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_wanted_tokens_come_out_as_if_all_had_been_computed(name):
    replica = Replica(build(name))
    assert replica.layout == "packed"
    seen = []
    block = _block_of(replica._model, replica._tap.names[-1])
    block.experts.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    narrow = replica.forward(BATCH, "last")
    replica._last_block = LastBlock(torch.nn.Module(), "nowhere")
    whole = replica.forward(BATCH, "last")
    assert seen == [64, 128]
    for one, other in zip(narrow, whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_mean_needs_every_token():
    replica = Replica(build("mixtral"))
    seen = []
    block = _block_of(replica._model, replica._tap.names[-1])
    block.experts.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    replica.forward(BATCH, "mean")
    assert seen == [128]


def test_a_block_with_layers_behind_it_is_left_alone():
    model = build("mixtral")
    assert _block_of(model, "layers.1.mlp.gate") is model.layers[1].mlp
    assert _block_of(model, "layers.0.mlp.gate") is None
