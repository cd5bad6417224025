"""DeepSeek-MoE against a forward written from its paper (arXiv 2401.06066) and its own checkpoint naming."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from pipeline.errors import ModelError
from pipeline.models import locate
from pipeline.replica.batch import TokenBatch
from pipeline.replica.replica import Replica

HIDDEN, HEADS, EXPERTS, CHOSEN, WIDTH, LAYERS, VOCABULARY, THETA = 32, 4, 6, 3, 16, 4, 90, 500.0
CONFIG = {
    "architectures": ["DeepseekForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_deepseek.DeepseekConfig"},
    "model_type": "deepseek",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": 48,
    "moe_intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": HEADS,
    "n_shared_experts": 2,
    "n_routed_experts": EXPERTS,
    "num_experts_per_tok": CHOSEN,
    "moe_layer_freq": 1,
    "first_k_dense_replace": 1,
    "norm_topk_prob": False,
    "scoring_func": "softmax",
    "aux_loss_alpha": 0.001,
    "seq_aux": True,
    "hidden_act": "silu",
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
    "rope_theta": THETA,
    "rope_scaling": None,
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "tie_word_embeddings": False,
}


def weights():
    """All tensors of a checkpoint under the names that DeepSeek-MoE-16B gives them."""
    generator = torch.Generator().manual_seed(3)
    shapes = {"model.embed_tokens": (VOCABULARY, HIDDEN), "lm_head": (VOCABULARY, HIDDEN), "model.norm": (HIDDEN,)}
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qkvo"}
        shapes |= {f"{at}.{name}_layernorm": (HIDDEN,) for name in ("input", "post_attention")}
        blocks = {"mlp": 48}
        if layer >= CONFIG["first_k_dense_replace"]:
            shapes[f"{at}.mlp.gate"] = (EXPERTS, HIDDEN)
            blocks = {"mlp.shared_experts": 2 * WIDTH, **{f"mlp.experts.{e}": WIDTH for e in range(EXPERTS)}}
        for block, width in blocks.items():
            shapes |= {f"{at}.{block}.{name}_proj": (width, HIDDEN) for name in ("gate", "up")}
            shapes[f"{at}.{block}.down_proj"] = (HIDDEN, width)
    return {
        f"{name}.weight": torch.randn(shape, generator=generator) * (0.3 if len(shape) > 1 else 0.1) + (len(shape) == 1)
        for name, shape in shapes.items()
    }


def write(folder, tensors, **changes):
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def normed(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def rotated(x):
    tokens, size = x.shape[1], x.shape[2]
    angles = torch.outer(torch.arange(tokens).float(), THETA ** (-torch.arange(0, size, 2).float() / size))
    angles = torch.cat([angles, angles], dim=-1)
    half = torch.cat([-x[..., size // 2 :], x[..., : size // 2]], dim=-1)
    return x * angles.cos() + half * angles.sin()


def reference(tensors, ids):
    """Final states [T, H] and router scores [MoE layers, T, E] of one sequence."""
    w = lambda name: tensors[f"model.{name}.weight"]  # noqa: E731
    x, routed = w("embed_tokens")[ids], []

    def block(at, y):
        gate, up, down = (w(f"{at}.{name}_proj") for name in ("gate", "up", "down"))
        return (functional.silu(y @ gate.T) * (y @ up.T)) @ down.T

    for layer in range(LAYERS):
        at = f"layers.{layer}"
        y = normed(x, w(f"{at}.input_layernorm"))
        split = lambda name: (y @ w(f"{at}.self_attn.{name}_proj").T).view(len(ids), HEADS, -1).transpose(0, 1)  # noqa: B023, E731
        scores = rotated(split("q")) @ rotated(split("k")).mT / (HIDDEN // HEADS) ** 0.5
        scores = scores.masked_fill(torch.ones(len(ids), len(ids)).triu(1).bool(), float("-inf")).softmax(-1)
        x = x + (scores @ split("v")).transpose(0, 1).reshape(len(ids), -1) @ w(f"{at}.self_attn.o_proj").T
        y = normed(x, w(f"{at}.post_attention_layernorm"))
        if layer < CONFIG["first_k_dense_replace"]:
            x = x + block(f"{at}.mlp", y)
            continue
        gates = (y @ w(f"{at}.mlp.gate").T).softmax(-1)
        routed.append(gates)
        kept = gates * torch.zeros_like(gates).scatter(-1, gates.topk(CHOSEN, -1).indices, 1.0)
        mixed = sum(kept[:, e, None] * block(f"{at}.mlp.experts.{e}", y) for e in range(EXPERTS))
        x = x + mixed + block(f"{at}.mlp.shared_experts", y)
    return normed(x, w("norm")), torch.stack(routed)


def load(folder):
    checkpoint = locate(str(folder))
    return Replica.load(checkpoint, dtype="float32", device="cpu", routing="scores", routing_layers=None)


def test_a_checkpoint_in_its_own_naming_gives_what_the_paper_says(tmp_path):
    tensors = weights()
    replica = load(write(tmp_path, tensors))
    lengths = np.array([9, 17, 4], dtype=np.int64)
    ids = np.random.default_rng(0).integers(2, VOCABULARY, lengths.sum(), dtype=np.int32)
    hidden, routing = replica.forward(TokenBatch(ids, lengths, np.zeros_like(lengths), lengths), "last")
    assert routing.shape == (3, 3 * EXPERTS)
    for row, piece in enumerate(np.split(ids, np.cumsum(lengths)[:-1])):
        states, gates = reference(tensors, torch.from_numpy(piece).long())
        np.testing.assert_allclose(hidden[row], states[-1].numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(routing[row], gates[:, -1].flatten().numpy(), rtol=1e-5, atol=1e-5)


def test_an_expert_that_is_missing_is_noticed(tmp_path):
    tensors = weights()
    del tensors["model.layers.2.mlp.experts.4.up_proj.weight"]
    with pytest.raises(ModelError, match="weights are missing"):
        load(write(tmp_path, tensors))


def test_what_the_architecture_cannot_express_is_refused(tmp_path):
    with pytest.raises(ModelError, match="without normalised top-k weights"):
        load(write(tmp_path, weights(), norm_topk_prob=True))
