"""The OLMoE shape, its start from static token vectors, and its way to disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from transformers import OlmoeConfig, OlmoeModel

from . import experts
from .vocabulary import EOS_ID, PAD_ID

if TYPE_CHECKING:
    from pathlib import Path

Floats = npt.NDArray[np.float32]

HIDDEN = 256
FILLER = 1  # dimensions that carry no content; see embed_static. 8 equal ones cost .006 P@10 after z-scoring
LONGEST = 0.995  # quantile of the token vectors' lengths that gets no filler


def configuration(vocabulary: int) -> OlmoeConfig:
    """11M parameters, 1.85M of them active a token; expert width 128 suits 4-bit kernels (K % 64 == 0)."""
    return OlmoeConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        intermediate_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_experts=16,
        num_experts_per_tok=2,
        norm_topk_prob=True,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=PAD_ID,
        eos_token_id=EOS_ID,
        router_aux_loss_coef=0.02,
    )


def embed_static(vectors: Floats) -> Floats:
    """Static vectors [V, 255] -> token embeddings [V, 256] whose lengths outlive RMSNorm.

    RMSNorm makes all token states equally long, which would undo the weighting that makes the
    mean a good document vector. The filler dimension brings every row to one length instead, so
    that normalizing leaves the content's own length alone: with layers that add nothing the
    model's mean-pooled state *is* the static document vector.
    """
    full = float(np.sqrt(HIDDEN))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    content = vectors * (full / np.quantile(lengths, LONGEST))
    content *= np.minimum(1.0, 0.999 * full / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-6))
    rest = full**2 - np.square(content).sum(axis=1, keepdims=True)
    filler = np.repeat(np.sqrt(rest / FILLER), FILLER, axis=1)
    return np.concatenate([content, filler], axis=1).astype(np.float32)


def build(vocabulary: int, seed: int) -> OlmoeModel:
    """A model whose layers add nothing yet and whose projections ignore the filler."""
    torch.manual_seed(seed)
    model = OlmoeModel(configuration(vocabulary))
    layers: Any = model.layers
    with torch.no_grad():
        for layer in layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.experts.down_proj.zero_()
            layer.mlp.experts.gate_up_proj.normal_(std=HIDDEN**-0.5)
            layer.mlp.gate.weight.normal_(std=0.1)
            attention = layer.self_attn
            for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
                projection.weight.normal_(std=HIDDEN**-0.5)
            # frequent tokens are nearly all filler: with weight on it one expert would take them all
            for weight in (
                layer.mlp.gate.weight,
                layer.mlp.experts.gate_up_proj,
                attention.q_proj.weight,
                attention.k_proj.weight,
                attention.v_proj.weight,
            ):
                weight[..., -FILLER:].zero_()
        # states and embeddings have length 16: the tied head's logits would reach 256
        model.norm.weight.fill_(1 / 16)
    experts.register()
    model.set_experts_implementation(experts.NAME)
    return model


def save_model(weights: dict[str, torch.Tensor], vocabulary: int, directory: Path) -> None:
    """Write bf16 weights and a configuration that `OlmoeModel` and `OlmoeForCausalLM` load."""
    directory.mkdir(parents=True, exist_ok=True)
    config = configuration(vocabulary).to_diff_dict()
    config |= {"architectures": ["OlmoeForCausalLM"], "dtype": "bfloat16", "model_type": "olmoe"}
    (directory / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    tensors = {f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in weights.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
