from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import locate
from pipeline.replica.batch import TokenBatch
from pipeline.replica.footprint import footprint_of, refuse_unquantized
from pipeline.replica.load import load_model
from pipeline.replica.quantization.weights import Nf4Weight, QuantizedWeight, is_expert_matrix, quantized
from pipeline.replica.replica import Replica

CPU = torch.device("cpu")
ERROR = {"nf4": (0.05, 0.12), "int8": (0.001, 0.02)}
FAMILIES = ("olmoe", "mixtral", "qwen2_moe", "deepseek_v2", "gpt_oss", "llama4_text", "dbrx")


def batch():
    lengths = np.array((7, 30, 1, 18), dtype=np.int64)
    ids = np.random.default_rng(1).integers(3, 96, lengths.sum(), dtype=np.int32)
    return TokenBatch(ids, lengths, np.zeros_like(lengths), lengths)


def load(folder, quantization="none", dtype="float32"):
    return Replica.load(
        locate(str(folder)),
        dtype=dtype,
        device="cpu",
        routing="scores",
        routing_layers=None,
        quantization=quantization,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tiny_model):
    folders = {}

    def save(model_type, **more):
        key = (model_type, *more)
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp(model_type)
            tiny_model(model_type, **more).save_pretrained(folders[key])
        return folders[key]

    return save


@pytest.mark.parametrize("how", ["nf4", "int8"])
@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_quantized_replica_is_the_model_with_rounded_experts(saved, by_hand, model_type, how):
    replica, dense = load(saved(model_type), how), load(saved(model_type))
    plain = dense.forward(batch(), "last")
    count = 0
    with torch.no_grad():
        for name, weight in replica._model.named_modules():
            if isinstance(weight, QuantizedWeight):
                parameter = dense._model.get_parameter(name)
                rounded = by_hand(weight).view(parameter.shape)
                error = (rounded - parameter).norm() / parameter.norm()
                assert ERROR[how][0] < error < ERROR[how][1]
                parameter.copy_(rounded)
                count += 1
    assert count >= 2 * len(replica._tap)
    found, expected = replica.forward(batch(), "last"), dense.forward(batch(), "last")
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(other).max()))
    assert np.abs(found[0] - plain[0]).max() > 1e-4


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize(("how", "limit"), [("nf4", 0.29), ("int8", 0.54)])
def test_the_experts_shrink_and_nothing_else_is_touched(saved, how, limit, dtype, caplog):
    folder = saved("qwen2_moe", hidden_size=64, moe_intermediate_size=64, shared_expert_intermediate_size=64)
    with caplog.at_level(logging.INFO, "pipeline.replica.footprint"):
        replica = load(folder, how, dtype)
    weights = {entry.kind: entry for entry in replica.weights}
    assert set(weights) == {"experts", "attention", "router", "norms", "embeddings", "other"}
    experts = weights.pop("experts")
    assert 0 < experts.stored <= limit * experts.dense
    assert all(entry.stored == entry.dense > 0 for entry in weights.values())
    assert "experts take" in caplog.text
    for name, parameter in replica._model.named_parameters():
        assert parameter.dtype == getattr(torch, dtype), name
    hidden, routing = replica.forward(batch(), "last")
    assert np.isfinite(hidden).all()
    assert np.isfinite(routing).all()


def test_layers_that_want_all_experts_at_once_share_one_buffer(saved):
    layers = [
        module for name, module in load(saved("llama4_text"), "nf4")._model.named_modules() if name.endswith(".experts")
    ]
    assert len(layers) > 1
    assert len({layer.gate_up_proj.data_ptr() for layer in layers}) == 1


def test_a_plain_replica_reports_its_weights_and_leaves_bitsandbytes_alone(saved):
    program = (
        "import sys; from pipeline.models import locate; from pipeline.replica.replica import Replica\n"
        "replica = Replica.load(locate(sys.argv[1]), dtype='float32', device='cpu', routing='scores', "
        "routing_layers=None)\n"
        "assert all(entry.stored == entry.dense for entry in replica.weights)\n"
        "sys.exit('bitsandbytes' in sys.modules)"
    )
    folder = saved("olmoe")
    ran = subprocess.run(
        [sys.executable, "-c", program, folder], capture_output=True, text=True, timeout=120, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr


class TestRefusals:
    def edit(self, folder, tmp_path, **fields):
        for file in folder.iterdir():
            os.link(file, tmp_path / file.name)
        config = json.loads((folder / "config.json").read_text()) | fields
        (tmp_path / "config.json").unlink()
        (tmp_path / "config.json").write_text(json.dumps(config))
        return tmp_path

    def test_experts_that_are_not_fused(self, saved):
        with pytest.raises(ModelError, match=r"jetmoe: its experts .*quantization='none' instead of 'nf4'"):
            load(saved("jetmoe"), "nf4")

    @pytest.mark.parametrize(
        ("own", "method"),
        [
            ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "bitsandbytes"),
            ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes"),
            ({"quant_method": "gptq", "bits": 4}, "gptq"),
            ({"quant_method": "fp8"}, "fp8"),
            ({}, "a method that it does not name"),
        ],
    )
    @pytest.mark.parametrize("how", ["none", "nf4"])
    def test_a_checkpoint_that_is_already_quantized(self, saved, tmp_path, own, method, how):
        folder = self.edit(saved("olmoe"), tmp_path, quantization_config=own)
        with pytest.raises(ModelError, match=f"already quantized .*{method}.*take the checkpoint"):
            load(folder, how)

    def test_missing_and_misshapen_experts(self, saved, tmp_path):
        from safetensors.torch import load_file, save_file

        folder = self.edit(saved("olmoe"), tmp_path)
        weights = load_file(folder / "model.safetensors")
        last = next(name for name in sorted(weights, reverse=True) if "experts.3." in name)
        (folder / "model.safetensors").unlink()
        for damaged in (
            {**weights, last: weights[last][:-1].contiguous()},
            {n: w for n, w in weights.items() if n != last},
        ):
            save_file(damaged, folder / "model.safetensors", metadata={"format": "pt"})
            with pytest.raises(ModelError, match=r"cannot be loaded|weights are missing"):
                load(folder, "nf4")

    def test_experts_that_did_not_shrink(self, saved):
        dense = load_model(locate(str(saved("mixtral"))), dtype="float32", device=CPU)
        with pytest.raises(ModelError, match="were not quantized"):
            refuse_unquantized(dense, footprint_of(dense, []), "nf4")
        replica = load(saved("mixtral"), "int8")
        with pytest.raises(ModelError, match="did not shrink"):
            refuse_unquantized(replica._model, replica.weights, "nf4")

    def test_anything_else_that_shrank(self, saved):
        model = load(saved("mixtral"), "nf4")._model
        model.layers[0].self_attn.q_proj.half()
        with pytest.raises(ModelError, match="attention weights were quantized too"):
            refuse_unquantized(model, footprint_of(model, []), "nf4")


@pytest.mark.parametrize("how", ["none", "nf4"])
def test_mxfp4_is_undone_while_reading(saved, tmp_path, how):
    from safetensors.torch import load_file, save_file
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    folder = saved("gpt_oss", hidden_size=64, intermediate_size=64)
    weights = load_file(folder / "model.safetensors")
    torch.manual_seed(0)
    expected = {}
    for name in [name for name in weights if name.endswith(("experts.gate_up_proj", "experts.down_proj"))]:
        experts, rows, columns = weights.pop(name).shape
        blocks = torch.randint(0, 256, (experts, columns, rows // 32, 16), dtype=torch.uint8)
        scales = torch.full((experts, columns, rows // 32), 124, dtype=torch.uint8)  # 2 ** (124 - 127)
        weights[f"{name}_blocks"], weights[f"{name}_scales"] = blocks, scales
        expected[name.removeprefix("model.")] = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32)
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "mxfp4"}}))
    model = load(tmp_path, how)._model
    assert expected
    for name, weight in expected.items():
        if how == "none":
            assert torch.equal(model.get_parameter(name), weight)
        else:
            stored = model.get_submodule(name)
            assert isinstance(stored, Nf4Weight)
            assert torch.equal(stored.packed, quantized(weight, "nf4", dtype=torch.float32, device=CPU).packed)


def test_quantized_vectors_are_near_the_dense_ones_and_never_mixed_with_them(encoder, texts):
    from pipeline import EmbeddingSpec, Encoder
    from pipeline.errors import FingerprintError

    texts = texts[:6]
    dense = encoder.encode_raw(texts)
    for how, least in (("nf4", 0.97), ("int8", 0.999)):
        other = Encoder(EmbeddingSpec(**encoder.spec.model_dump() | {"quantization": how}), device="cpu")
        raw = other.encode_raw(texts)
        for one, two in ((dense.hidden_state, raw.hidden_state), (dense.routing_weights, raw.routing_weights)):
            cosines = (one * two).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)
            assert np.median(cosines) > least
        np.testing.assert_allclose(other.encode_raw(texts[3:4]).hidden_state[0], raw.hidden_state[3], atol=1e-4)
        assert other.meaning["quantization"] == how
        with pytest.raises(FingerprintError, match=rf"quantization: .*{how}"):
            other.refuse_other_meaning(encoder.meaning)
        assert next(entry for entry in other.weights if entry.kind == "experts").stored < 7e6


MEASURE = """
import gc, re, sys
from pathlib import Path

import torch
from pipeline.models import locate
from pipeline.replica.footprint import footprint_of
from pipeline.replica.load import load_model

def memory(which):
    return int(re.search(which + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def load(name):
    return load_model(locate(name), dtype="bfloat16", device=torch.device("cpu"), quantization=sys.argv[2])

load("mini")  # what is imported and compiled on first use is no part of the model
gc.collect()
before = memory("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # starts the high-water mark again
model = load(sys.argv[1])
weights = footprint_of(model, [])
layer = next(entry.dense for entry in weights if entry.kind == "experts") / model.config.num_hidden_layers
print(memory("VmHWM") - before, sum(entry.stored for entry in weights), int(layer))
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's high-water mark")
@pytest.mark.parametrize("how", ["nf4", "int8"])
def test_loading_never_holds_the_dense_model(tmp_path, how):
    from transformers import AutoModel, OlmoeConfig

    config = OlmoeConfig(
        hidden_size=512,
        intermediate_size=256,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=8,
        num_experts=32,
        vocab_size=1000,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    AutoModel.from_config(config, dtype=torch.bfloat16).save_pretrained(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path, how], capture_output=True, text=True, timeout=280, check=False
    )
    assert ran.returncode == 0, ran.stderr
    peak, held, layer = map(int, ran.stdout.split())
    assert peak <= 1.3 * held + layer


def test_the_name_of_a_parameter_tells_whether_it_is_an_experts_matrix():
    for name in ("layers.1.mlp.experts.gate_up_proj", "experts.down_proj", "blocks.0.ffn.experts.mlp.w1"):
        assert is_expert_matrix(name)
    for name in (
        "layers.1.mlp.experts.gate_up_proj_bias",
        "layers.1.mlp.shared_experts.gate_proj",
        "layers.1.mlp.shared_experts.up_proj.weight",
        "layers.1.mlp.gate.weight",
    ):
        assert not is_expert_matrix(name)
