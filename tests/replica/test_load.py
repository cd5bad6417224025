from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch

from pipeline.embedding.encoder import Encoder
from pipeline.errors import ModelError
from pipeline.models import locate
from pipeline.models.weights import Weight, read_weights
from pipeline.replica import memory
from pipeline.replica.load import load_model
from pipeline.replica.memory import available_memory, needed_memory, refuse_too_large
from pipeline.replica.replica import Replica
from pipeline.replica.tap import score_function

CPU = torch.device("cpu")


@pytest.fixture
def sharded(tmp_path, tiny_model):
    tiny_model("olmoe").save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    return tmp_path


def refused(folder, pattern):
    with pytest.raises(ModelError, match=pattern) as caught:
        load_model(locate(str(folder)), dtype="float32", device=CPU)
    assert "\n" not in str(caught.value)


def test_a_sharded_checkpoint_loads(sharded):
    assert load_model(locate(str(sharded)), dtype="float32", device=CPU).config.model_type == "olmoe"


def test_a_shard_that_is_gone_is_named(sharded):
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.unlink()
    refused(sharded, rf"1 of its \d+ weight files are not in .*{shard.name}.*fetch the checkpoint again")


def test_a_shard_that_is_cut_short_is_named(sharded):
    shard = sorted(sharded.glob("*.safetensors"))[1]
    shard.write_bytes(shard.read_bytes()[:-100])
    refused(sharded, rf"{shard.name} is damaged: [\d,]+ of [\d,]+ bytes")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\x05\0\0\0\0\0\0\0[1,2]",
        b"\xff" * 64,
        b'\x07\0\0\0\0\0\0\0{"w":1}',
        b'\x08\0\0\0\0\0\0\0{"w":{}}',
        b'\x37\0\0\0\0\0\0\0{"w":{"dtype":"F32","shape":[1],"data_offsets":[null]}}',
    ],
)
def test_what_is_no_safetensors_file_is_named(sharded, content):
    shard = min(sharded.glob("*.safetensors"))
    shard.write_bytes(content)
    refused(sharded, rf"{shard.name} is damaged: not a safetensors file")


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": [1]}'])
def test_a_damaged_index_is_named(sharded, content):
    (sharded / "model.safetensors.index.json").write_text(content)
    refused(sharded, r"index\.json is damaged")


def test_missing_weights_are_named(sharded):
    index = sharded / "model.safetensors.index.json"
    entries = json.loads(index.read_text())
    for file in sharded.glob("*.safetensors"):
        if any("layers.1.mlp.gate" in name for name, at in entries["weight_map"].items() if at == file.name):
            entries["weight_map"] = {name: at for name, at in entries["weight_map"].items() if at != file.name}
    index.write_text(json.dumps(entries))
    refused(sharded, r"weights are missing")


def test_headers_tell_what_is_there(sharded, tiny_model):
    weights = read_weights("tiny", sharded)
    assert sum(weight.elements for weight in weights) == sum(p.numel() for p in tiny_model("olmoe").parameters())
    assert {weight.dtype for weight in weights} == {"F32"}


def test_the_estimate_knows_dtypes_and_quantized_experts():
    weights = [Weight("layers.0.mlp.experts.3.up_proj.weight", 1000, "F32"), Weight("embed.weight", 10, "F32")]
    assert needed_memory(weights, "float32") == 4040
    assert needed_memory(weights, "bfloat16") == 2020
    assert 500 < needed_memory(weights, "bfloat16", "nf4") < 620
    assert 1000 < needed_memory(weights, "bfloat16", "int8") < 1120


def test_a_model_that_does_not_fit_is_refused_before_it_is_loaded(sharded, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda device: 2**16)
    refused(sharded, r"not enough memory on cpu: about \d+ MiB are needed in float32, 0 MiB are free; .*'nf4'")


def test_memory_that_nobody_knows_stops_nothing(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda device: None)
    huge = [Weight("w", 10**15, "F32")]
    refuse_too_large("huge", huge, dtype="float32", quantization="none", device=CPU)


def test_this_machine_tells_its_memory():
    room = available_memory(CPU)
    assert room is None or 2**20 < room < 2**50


def test_a_model_whose_forward_fails_is_refused_in_one_line(tiny_model, monkeypatch):
    model = tiny_model("olmoe")

    def failing(**_inputs):
        raise RuntimeError("shapes do not fit\nand so on")

    monkeypatch.setattr(model, "forward", failing)
    with pytest.raises(
        ModelError, match=r"olmoe: its forward fails on a single sequence \(RuntimeError: shapes"
    ) as caught:
        Replica(model)
    assert "\n" not in str(caught.value)


def test_a_model_that_gives_no_numbers_is_refused(tiny_model):
    model = tiny_model("olmoe")
    model.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        Replica(model)


def test_an_architecture_that_nobody_verified_is_read_where_its_configuration_says_how(tiny_model, monkeypatch):
    model = tiny_model("olmoe")
    monkeypatch.setattr(model.config, "model_type", "brandnew")
    with pytest.raises(ModelError, match=re.escape("brandnew: not a verified architecture")):
        score_function(model)
    model.config.scoring_func = "sigmoid"
    assert score_function(model) == "sigmoid"
    assert Replica(model, routing="logits").layout == "padded"  # short probes cannot clear packing of all doubt


def test_positions_end_where_rotary_frequencies_would_change_with_the_batch(tiny_model):
    model = tiny_model("olmoe")
    replica = Replica(model)
    assert replica.max_positions == 128
    model.config.rope_parameters = {"rope_type": "longrope", "original_max_position_embeddings": 32}
    assert replica.max_positions == 32


def test_a_missing_pad_token_is_no_hindrance(tiny_model):
    for pad in (None, -1):
        model = tiny_model("olmoe")
        model.config.pad_token_id = pad
        assert Replica(model).halves == (32, 12)


def test_a_tokenizer_without_a_pad_token_changes_nothing(tmp_path, encoder, texts):
    folder = shutil.copytree(locate("mini").path, tmp_path / "unpadded")
    for file in folder.glob("*.json"):
        if isinstance(content := json.loads(file.read_text(encoding="utf-8")), dict):
            kept = {name: value for name, value in content.items() if not name.startswith("pad_token")}
            file.write_text(json.dumps(kept), encoding="utf-8")
    other = Encoder(encoder.spec.model_copy(update={"model": str(folder)}), device="cpu")
    np.testing.assert_allclose(
        other.encode_raw(texts[:5]).hidden_state, encoder.encode_raw(texts[:5]).hidden_state, atol=1e-5
    )
