"""Every Mixture-of-Experts architecture of transformers, small enough to build in milliseconds."""

from __future__ import annotations

import dataclasses

import torch
from transformers import AutoModel, PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from pipeline.replica import deepseek

deepseek.register()

VOCABULARY = 96
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "moe_top_k", "top_k_experts", "top_k"), 2),
    **dict.fromkeys(("moe_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"), 16),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group", "n_shared_experts", "num_shared_experts"), 1),
    **dict.fromkeys(("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"), 1),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "linear_num_value_heads", "linear_num_heads"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "linear_head_dim"), 8),
    **dict.fromkeys(("ffn_hidden_size", "moe_hidden_size", "router_hidden_size", "rel_extent"), 32),
    **dict.fromkeys(("swa_head_dim", "o_lora_rank", "sliding_window_size"), 8),
    **dict.fromkeys(("linear_num_key_heads", "swa_num_key_value_heads", "o_groups"), 2),
    "swa_num_attention_heads": 4,
    "sliding_window": 8,
    "index_n_heads": 16,
    "index_head_dim": 16,
    "index_topk": 8,
    "index_block_size": 4,
    "index_topk_blocks": 2,
    "attention_chunk_size": 8,
    "shared_experts_intermediate_size": 16,
}
SPARSE = {"mlp_layer_types": ["dense", "sparse", "sparse"]}
LATENT = {"num_key_value_heads": 4}
SLIDING = ("swa_qk_rope_head_dim", "swa_qk_nope_head_dim", "swa_v_head_dim", "swa_kv_lora_rank", "swa_q_lora_rank")
SLIDING_HEADS = ("swa_num_attention_heads", "swa_num_key_value_heads")
LINEAR = {"layer_types": ["linear_attention", "full_attention", "linear_attention"]}
ENCODER_DECODER = {"d_model": 32, "num_heads": 4, "num_layers": 4, "vocab_size": VOCABULARY, "pad_token_id": 0}
OWN = {
    **dict.fromkeys(
        (
            *("axk1", "axk2", "deepseek", "deepseek_v2", "deepseek_v3", "deepseek_v32"),
            *("glm4_moe_lite", "glm_moe_dsa", "mistral4", "mistral_large4_text"),
        ),
        LATENT,
    ),
    "bailing_hybrid": {**LATENT, **LINEAR},
    "beam": SPARSE,
    "dbrx": {
        "d_model": 32,
        "n_heads": 4,
        "n_layers": 2,
        "max_seq_len": 128,
        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0},
        "ffn_config": {"moe_num_experts": 4, "moe_top_k": 2, "ffn_hidden_size": 16, "hidden_size": 32},
    },
    "deepseek_v4": {"num_hash_layers": 1},
    "gemma4_text": {
        "enable_moe_block": True,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
        "global_head_dim": 8,
        "layer_types": ["sliding_attention", "full_attention"],
        "num_hidden_layers": 2,
    },
    "glm4v_moe_text": {
        "head_dim": 16,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
    },
    "dots3_note_text": {**LATENT, **dict.fromkeys(SLIDING, 8), **dict.fromkeys(SLIDING_HEADS, 4), "swa_head_dim": 16},
    "glm5_next_text": {**LATENT, **SPARSE, "qk_rope_head_dim": 0, "index_kpool": 4},
    "granitemoehybrid": {**LINEAR, "mamba_d_state": 8, "mamba_chunk_size": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "num_hidden_layers": 4},
    "kimi_linear": {**LATENT, **LINEAR},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv"]},
    "longcat_flash": {**LATENT, "num_layers": 2, "zero_expert_num": 2},
    "nemotron_h": {
        "layers_block_type": ["linear_attention", "moe", "full_attention", "moe"],
        "num_hidden_layers": 4,
        "n_groups": 2,
        "ssm_state_size": 8,
        "chunk_size": 16,
    },
    "nllb-moe": {
        "d_model": 32,
        "vocab_size": VOCABULARY,
        "pad_token_id": 0,
        "num_experts": 4,
        "dropout": 0.0,
        "encoder_layers": 4,
        "decoder_layers": 1,
        "encoder_sparse_step": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "second_expert_policy": "random",
    },
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse", "minimax_m3_sparse"],
        "index_n_heads": 2,
    },
    "qwen3_5_moe_text": LINEAR,
    "qwen3_next": LINEAR,
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention", "linear_attention"],
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 8,
        "indexer_compress_ratio": 4,
        "hc_lowrank": 8,
        "ngram_vocab_size_base": 50,
    },
    "switch_transformers": {
        **ENCODER_DECODER,
        "num_sparse_encoder_layers": 2,
        "num_decoder_layers": 1,
        "num_sparse_decoder_layers": 1,
        "d_kv": 8,
        "d_ff": 32,
        "num_experts": 4,
        "expert_capacity": 2,
    },
    "zaya": {"num_experts_per_tok": 1},
}


OTHER_MODALITIES = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "projector_input_dim", "projector_output_dim"), 16),
    **dict.fromkeys(("embed_dim", "output_dim", "d_model", "image_size", "num_position_embeddings"), 16),
    **dict.fromkeys(("projection_intermediate_size", "width", "mlp_dim"), 16),
    **dict.fromkeys(("num_hidden_layers", "depth", "num_layers", "encoder_layers", "layers"), 1),
    **dict.fromkeys(("num_heads", "num_attention_heads", "num_key_value_heads", "heads"), 2),
    "head_dim": 8,
    "patch_size": 4,
    "out_hidden_size": 32,
    "vision_output_dim": 32,
    "deepstack_visual_indexes": [],
}


def tiny_composite(model_type):
    """A small configuration of an architecture that reads more than text."""
    kind = CONFIG_MAPPING[model_type]
    usual = kind()
    parts = {name: part for name, part in vars(usual).items() if isinstance(part, PreTrainedConfig)}
    small = {
        name: tiny_config(part.model_type).to_dict() if name == "text_config" else _known(type(part), OTHER_MODALITIES)
        for name, part in parts.items()
    }
    tokens = {name for name in vars(usual) if name.endswith(("token_id", "token_index"))} - COMMON.keys()
    return kind(**small, **{name: VOCABULARY - 1 for name in tokens if isinstance(getattr(usual, name), int)})


def _known(kind, fields):
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in fields.items() if name in names}


def tiny_config(model_type, **more):
    """A small configuration of an architecture; `more` overrides its fields."""
    kind = CONFIG_MAPPING[model_type]
    return kind(**{**_known(kind, COMMON), **OWN.get(model_type, {}), **more})


def tiny_model(model_type, **more):
    """A random headless model in evaluation mode, float32, with weights large enough to tell tokens apart."""
    torch.manual_seed(0)
    model = AutoModel.from_config(tiny_config(model_type, **more)).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embed" not in name:
                weight.mul_(5)
    return model
