from __future__ import annotations

import json

import pytest

from pipeline.models import locate
from pipeline.models.families import FAMILIES, REFUSED


def test_the_list_names_every_family_and_every_refusal(moee):
    outcome = moee("models", "--json")
    assert outcome.status == 0
    assert outcome.json["built_in"] == "mini"
    assert {family["model_type"] for family in outcome.json["families"]} == set(FAMILIES)
    assert {entry["model_type"]: entry["reason"] for entry in outcome.json["refused"]} == dict(REFUSED)
    shown = moee("models").out
    assert all(kind in shown for kind in (*FAMILIES, *REFUSED))
    assert "encoder only" in shown


def test_the_built_in_model_is_described_without_loading_it(moee):
    described = moee("models", "mini", "--json").json
    assert described["architecture"] == "olmoe"
    assert described["verified"] is True
    assert described["routing"] == described["moe_layers"] * described["experts"]
    assert described["parameters"] > described["expert_parameters"] > 0
    assert "olmoe" in moee("models", str(locate("mini").path)).out


@pytest.mark.parametrize(
    ("name", "message"),
    [("./nowhere", "no such directory"), ("nobody/nothing-at-all", "hub")],
)
def test_a_model_that_is_nowhere_is_one_line_and_status_1(moee, name, message):
    outcome = moee("models", name)
    assert outcome.status == 1
    assert message in outcome.error


def test_a_dense_checkpoint_is_refused(moee, tmp_path):
    from transformers import LlamaConfig, LlamaModel

    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    LlamaModel(LlamaConfig(**sizes, num_attention_heads=2)).save_pretrained(tmp_path)
    outcome = moee("models", tmp_path)
    assert outcome.status == 1
    assert "not a Mixture-of-Experts model" in outcome.error
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "doge"}))
    assert "mixes the tokens" in moee("models", tmp_path).error
