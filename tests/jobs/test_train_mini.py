"""The recipe of the built-in model: its own expert forward, its schedule, and that a resumed run is the same run."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import OlmoeConfig
from transformers.models.olmoe.modeling_olmoe import OlmoeExperts

from jobs.train_mini import experts
from jobs.train_mini.contextual import ContextualRecipe, Trainer, balance_loss
from jobs.train_mini.corpus import Stream
from jobs.train_mini.model import HIDDEN, configuration, embed_static, save_model

VOCABULARY = 300
RNG = np.random.default_rng(4)
VECTORS = RNG.normal(size=(VOCABULARY, HIDDEN - 1)).astype(np.float32)
RECIPE = ContextualRecipe(
    steps=4,
    cooldown_from=2,
    cosine_steps=8,
    tokens=256,
    lengths=(16,),
    length_shares=(1.0,),
    bank=8,
    warmup=1,
)


def streams():
    lengths = RNG.integers(60, 90, 30)
    ids = RNG.integers(2, VOCABULARY, lengths.sum()).astype(np.int32)
    return [Stream(ids, np.concatenate([[0], np.cumsum(lengths)]))] * 2


def test_the_training_forward_and_its_gradients_are_those_of_transformers():
    config = OlmoeConfig(hidden_size=16, intermediate_size=24, num_experts=5)
    config._experts_implementation = "eager"
    module = OlmoeExperts(config)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    states = torch.randn(70, 16, requires_grad=True)
    index = torch.stack([torch.randperm(5)[:2] for _ in range(70)])
    weights = torch.rand(70, 2, requires_grad=True)
    wanted = (states, weights, module.gate_up_proj, module.down_proj)
    eager = module(states, index, weights)
    padded = experts.padded_groups_forward(module, states, index, weights)
    torch.testing.assert_close(padded, eager, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(
        torch.autograd.grad(padded.square().sum(), wanted),
        torch.autograd.grad(eager.square().sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_token_vectors_outlive_the_norm():
    """Every embedding has one length, so that normalizing leaves the content's own length alone."""
    embeddings = embed_static(VECTORS)
    lengths = np.linalg.norm(embeddings, axis=1)
    np.testing.assert_allclose(lengths, np.sqrt(HIDDEN), rtol=1e-3)


def test_even_routing_costs_one_and_uneven_more():
    even = torch.full((160, 4), 0.25) + 1e-3 * torch.rand(160, 4)
    assert balance_loss([even], 1) == pytest.approx(1.0, abs=0.01)
    uneven = torch.tensor([[0.97, 0.01, 0.01, 0.01]]).repeat(160, 1)
    assert balance_loss([uneven], 1) > 3


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(tmp_path):
    data = streams()
    whole = Trainer(VECTORS, data, RECIPE).run(tmp_path / "whole.safetensors")
    first = Trainer(VECTORS, data, RECIPE)
    for _ in range(2):
        first._update(first._draw())
        first.step += 1
    first.save(tmp_path / "half.safetensors")
    resumed = Trainer(VECTORS, data, RECIPE).run(tmp_path / "half.safetensors")
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_what_is_written_loads_without_gaps(tmp_path):
    from transformers import OlmoeForCausalLM

    trained = Trainer(VECTORS, streams(), RECIPE)
    save_model({name: value.detach() for name, value in trained.weights.items()}, VOCABULARY, tmp_path)
    _, report = OlmoeForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert configuration(VOCABULARY).vocab_size == VOCABULARY
