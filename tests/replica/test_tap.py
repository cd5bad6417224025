from __future__ import annotations

import copy

import pytest
import torch
from transformers import (
    DeepseekV2Config,
    DeepseekV3Config,
    LlamaConfig,
    LlamaModel,
    MixtralConfig,
    OlmoeConfig,
    PhimoeConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)
from transformers.models.auto.modeling_auto import AutoModel, AutoModelForCausalLM

from pipeline.errors import ModelError
from pipeline.replica.replica import Replica
from pipeline.replica.tap import RouterTap, score_function

SMALL = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
DEEPSEEK = {
    **SMALL,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
}
FAMILIES = {
    "olmoe": (OlmoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2), 3, "softmax"),
    "mixtral": (MixtralConfig(**SMALL, num_local_experts=4), 3, "softmax"),
    "qwen2_moe": (
        Qwen2MoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16),
        3,
        "softmax",
    ),
    "qwen3_moe": (
        Qwen3MoeConfig(**SMALL, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, head_dim=8),
        3,
        "softmax",
    ),
    "phimoe": (PhimoeConfig(**SMALL, num_local_experts=4), 3, "softmax"),
    "deepseek_v2": (DeepseekV2Config(**DEEPSEEK), 2, "softmax"),
    "deepseek_v3": (DeepseekV3Config(**DEEPSEEK), 2, "sigmoid"),
}


@pytest.fixture(params=sorted(FAMILIES))
def family(request):
    return copy.deepcopy(FAMILIES[request.param])  # models write into their configuration


def test_the_tap_sees_what_transformers_reports(family):
    config, layers, score = family
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        official = model(ids, output_router_logits=True).router_logits
        tap = RouterTap(model.model)
        with tap.reading(lambda logits: logits.clone()) as seen:
            model.model(ids)
    assert len(tap) == layers == len(official)
    for layer, logits in enumerate(official):
        torch.testing.assert_close(seen[layer], logits.reshape(seen[layer].shape), rtol=0, atol=0)
    assert score_function(model) == score


def test_a_replica_of_the_family_leaves_sequences_alone(family):
    torch.manual_seed(0)
    replica = Replica(AutoModel.from_config(family[0]).eval())
    assert replica.layout in {"packed", "padded"}
    assert replica.halves == (32, 4 * family[1])


def test_a_dense_model_is_refused():
    with pytest.raises(ModelError, match="llama: no router found"):
        RouterTap(LlamaModel(LlamaConfig(**SMALL)))


def test_nothing_is_kept_outside_a_reading():
    model = AutoModel.from_config(FAMILIES["olmoe"][0]).eval()
    tap = RouterTap(model)
    with tap.reading(lambda logits: logits) as seen:
        pass
    model(torch.arange(5)[None])
    assert not seen
