from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import locate
from pipeline.replica.architecture import read_config, text_part
from pipeline.replica.batch import TokenBatch
from pipeline.replica.replica import Replica


def load(folder, dtype="float32"):
    return Replica.load(locate(str(folder)), dtype=dtype, device="cpu", routing="scores", routing_layers=None)


def one(length, seed=0):
    ids = np.random.default_rng(seed).integers(3, 96, length, dtype=np.int32)
    whole = np.array([length], dtype=np.int64)
    return TokenBatch(ids, whole, np.zeros_like(whole), whole)


@pytest.fixture
def saved(tmp_path, tiny_model):
    def save(model_type, **more):
        model = tiny_model(model_type, **more)
        model.save_pretrained(tmp_path)
        return model

    return save


def test_only_the_encoder_of_an_encoder_decoder_is_kept(tiny_model):
    for kind in ("switch_transformers", "nllb-moe"):
        names = [name for name, _ in text_part(tiny_model(kind)).named_parameters()]
        assert names
        assert not any("decoder" in name or "lm_head" in name for name in names)


def test_switch_drops_no_token_at_a_full_expert(saved, tmp_path):
    model = saved("switch_transformers", expert_capacity=1)
    capped = model.encoder(torch.from_numpy(one(20).ids).long()[None]).last_hidden_state[0, -1].detach()
    hidden, _ = load(tmp_path).forward(one(20), "last")
    for router in (module for module in model.modules() if hasattr(module, "expert_capacity")):
        router.expert_capacity = 1000
    free = model.encoder(torch.from_numpy(one(20).ids).long()[None]).last_hidden_state[0, -1].detach()
    np.testing.assert_allclose(hidden[0], free, rtol=1e-4, atol=1e-4)
    assert (free - capped).abs().max() > 1e-2


def test_nllb_mixes_the_two_experts_that_its_router_chose(saved, tmp_path):
    model = saved("nllb-moe", moe_token_dropout=0.2)
    layer = next(module for module in model.encoder.modules() if type(module).__name__ == "NllbMoeSparseMLP")
    states = torch.randn(7, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        gates = layer.router.classifier(states).softmax(-1)
        top, chosen = gates.topk(2, dim=-1)
        top = top / top.sum(-1, keepdim=True)
        outputs = torch.stack([expert(states) for expert in layer.experts.values()], dim=1)
        wanted = 0.8 * (top[..., None] * outputs.gather(1, chosen[..., None].expand(-1, -1, 32))).sum(1)
        replica = load(tmp_path)
        mine = next(m for m in replica._model.modules() if type(m).__name__ == "NllbMoeSparseMLP")
        torch.testing.assert_close(mine(states[None])[0], wanted, rtol=1e-4, atol=1e-5)


def test_an_encoder_sees_both_ways(saved, tmp_path):
    saved("switch_transformers")
    replica, tokens = load(tmp_path), one(12)
    changed = TokenBatch(np.append(tokens.ids[:-1], 5).astype(np.int32), tokens.lengths, tokens.starts, tokens.stops)
    first = TokenBatch(tokens.ids, tokens.lengths, tokens.starts, np.array([1]))
    other = TokenBatch(changed.ids, tokens.lengths, tokens.starts, np.array([1]))
    assert np.abs(replica.forward(first, "mean")[0] - replica.forward(other, "mean")[0]).max() > 1e-3


class TestConfig:
    @pytest.fixture
    def folder(self, saved, tmp_path):
        saved("mixtral")
        return tmp_path

    def change(self, folder, **fields):
        config = {**json.loads((folder / "config.json").read_text()), **fields}
        (folder / "config.json").write_text(json.dumps(config))
        return locate(str(folder))

    @pytest.mark.parametrize("content", ["{", "[1, 2]", "", "\x00"])
    def test_that_is_not_json_is_refused(self, folder, content):
        (folder / "config.json").write_text(content)
        with pytest.raises(ModelError, match=r"config\.json is not a JSON object") as caught:
            read_config(locate(str(folder)))
        assert "\n" not in str(caught.value)

    def test_that_needs_code_of_its_repository_is_refused(self, folder):
        checkpoint = self.change(folder, model_type="wonder", auto_map={"AutoConfig": "code.Wonder"})
        (folder / "code.py").write_text("raise SystemExit('this must never run')")
        with pytest.raises(ModelError, match=r"\(wonder\) needs Python code .* never run"):
            read_config(checkpoint)

    def test_that_names_code_which_transformers_does_not_need_is_read(self, folder):
        checkpoint = self.change(folder, auto_map={"AutoConfig": "code.Wonder"})
        assert read_config(checkpoint).model_type == "mixtral"

    @pytest.mark.parametrize("kind", ["doge", "diffusion_gemma"])
    def test_of_an_architecture_that_cannot_work_is_refused_with_the_reason(self, folder, kind):
        with pytest.raises(ModelError, match=rf"\({kind}\) cannot be used: \w+"):
            read_config(self.change(folder, model_type=kind))

    def test_with_nonsense_in_a_field_is_refused(self, folder):
        with pytest.raises(ModelError, match=r"config\.json"):
            read_config(self.change(folder, num_hidden_layers="many"))


def test_doge_really_mixes_the_tokens_of_a_batch(tiny_model):
    """The reason for which it is refused; should this fail, transformers has mended it."""
    model = tiny_model("doge", is_moe=True, num_experts=16, vocab_size=96)
    ids = torch.from_numpy(one(12).ids).long()
    with torch.inference_mode():
        alone = model(ids[None]).last_hidden_state[0]
        together = model(torch.stack([ids, ids.flip(0)])).last_hidden_state[0]
    assert (alone - together).abs().max() > 1e-3
