from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from pipeline.errors import ModelError
from pipeline.replica.tap import RouterTap

IDS = torch.arange(3, 20)[None]


def test_the_tap_sees_what_transformers_reports(tiny_model):
    model = tiny_model("deepseek_v3")
    with torch.no_grad():
        official = model(IDS, output_router_logits=True).router_logits
        tap = RouterTap(model)
        with tap.reading(lambda logits: logits.clone()) as seen:
            model(IDS)
    assert len(tap) == len(official) == 2
    assert tap.widths == [4, 4]
    for layer, logits in enumerate(official):
        torch.testing.assert_close(seen[layer], logits.reshape(seen[layer].shape), rtol=0, atol=0)


def test_layers_whose_router_cannot_be_read_are_noticed(tiny_model):
    model = tiny_model("olmoe")
    model.layers[1].mlp.gate = torch.nn.Linear(32, 4)
    with pytest.raises(ModelError, match=r"olmoe: 1 layers' experts have no router that can be read: layers\.1"):
        RouterTap(model)


def test_a_dense_model_is_refused():
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    with pytest.raises(ModelError, match="llama: no router found"):
        RouterTap(LlamaModel(LlamaConfig(**sizes, num_attention_heads=2)))


def test_nothing_is_kept_outside_a_reading(tiny_model):
    model = tiny_model("olmoe")
    tap = RouterTap(model)
    with tap.reading(lambda logits: logits) as seen:
        pass
    model(IDS)
    assert not seen
