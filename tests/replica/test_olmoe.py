from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import ModelError
from pipeline.models import locate
from pipeline.replica.any_architecture import load_with_transformers
from pipeline.replica.batch import TokenBatch
from pipeline.replica.load import load_model
from pipeline.replica.olmoe import Olmoe
from pipeline.replica.olmoe_config import OlmoeConfig
from pipeline.replica.olmoe_files import read_olmoe
from pipeline.replica.replica import Replica

CPU = torch.device("cpu")
LENGTHS = np.array((5, 120, 33, 1, 128), dtype=np.int64)
IDS = np.random.default_rng(0).integers(3, 90, LENGTHS.sum(), dtype=np.int32)
BATCH = TokenBatch(IDS, LENGTHS, np.zeros_like(LENGTHS), LENGTHS)
SIZES = ("vocab_size", "num_experts", "intermediate_size")
KINDS = {
    "plain": {},
    "shared keys": {"num_key_value_heads": 2},
    "weights that sum to 1": {"norm_topk_prob": True},
    "one expert": {"num_experts_per_tok": 1},
}


@pytest.fixture
def saved(tmp_path, tiny_model):
    def save(**more):
        tiny_model("olmoe", **more).save_pretrained(tmp_path, max_shard_size="40KB")
        return tmp_path

    return save


def change(folder, **fields):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))
    return locate(str(folder))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_results_are_those_of_transformers_to_the_bit(saved, kind, dtype):
    checkpoint = locate(str(saved(**KINDS[kind])))
    ours = load_model(checkpoint, dtype=dtype, device=CPU)
    theirs = load_with_transformers(checkpoint, dtype=dtype, device=CPU)
    assert isinstance(ours, Olmoe)
    assert not isinstance(theirs, Olmoe)
    one, other = (Replica(model, routing="logits") for model in (ours, theirs))
    for layout in ("packed", "padded"):
        for pooling in ("last", "mean"):
            one._use(layout)
            other._use(layout)
            for half, expected in zip(one.forward(BATCH, pooling), other.forward(BATCH, pooling), strict=True):
                np.testing.assert_array_equal(half, expected)


def test_the_built_in_model_gives_what_transformers_gives():
    ours, theirs = (
        Replica(load(locate("mini"), dtype="bfloat16", device=CPU)) for load in (load_model, load_with_transformers)
    )
    for half, expected in zip(ours.forward(BATCH, "last"), theirs.forward(BATCH, "last"), strict=True):
        np.testing.assert_array_equal(half, expected)


def test_weights_and_replicas_look_like_those_of_transformers():
    ours, theirs = (load(locate("mini"), dtype="bfloat16", device=CPU) for load in (load_model, load_with_transformers))
    assert {name: tuple(weight.shape) for name, weight in ours.named_parameters()} == {
        name: tuple(weight.shape) for name, weight in theirs.named_parameters()
    }
    one, other = Replica(ours), Replica(theirs)
    for name in ("weights", "halves", "layout", "max_positions"):
        assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(
    "uncommon",
    [
        {"clip_qkv": 0.5},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}},
        {"head_dim": 16},
        {"hidden_size": "32"},
        {"num_key_value_heads": 3},
        {"model_type": "olmo"},
        {"quantization_config": {"quant_method": "mxfp4"}},
    ],
    ids=lambda uncommon: next(iter(uncommon)),
)
def test_anything_uncommon_is_left_to_transformers(saved, uncommon):
    raw = json.loads((saved() / "config.json").read_text())
    assert OlmoeConfig.parse(raw) is not None
    assert OlmoeConfig.parse({**raw, **uncommon}) is None


@pytest.mark.parametrize(
    ("size", "factor"),
    [("num_hidden_layers", 2), *((size, factor) for size in SIZES for factor in (2, 10**9))],
)
def test_sizes_that_the_files_do_not_have_are_refused_in_one_line(saved, size, factor):
    folder = saved()
    before = json.loads((folder / "config.json").read_text())[size]
    with pytest.raises(ModelError) as caught:
        load_model(change(folder, **{size: factor * before}), dtype="float32", device=CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("twice", [False, True], ids=["missing", "missing, and another one twice"])
def test_files_that_lack_a_matrix_are_not_read(saved, tmp_path, twice):
    checkpoint = locate(str(saved()))
    config = OlmoeConfig.parse(checkpoint.config)
    tensors = {}
    for file in checkpoint.path.glob("*.safetensors"):
        tensors |= load_file(file)
    assert config is not None
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    save_file(tensors, whole)
    assert read_olmoe(config, [whole], torch.float32) is not None
    up = next(name for name in tensors if name.endswith("experts.0.up_proj.weight"))
    gate = tensors[up.replace("up_proj", "gate_proj")]
    del tensors[up]
    save_file({**tensors, **({f"model.{up.replace('up_proj', 'gate_proj')}": gate.clone()} if twice else {})}, broken)
    assert read_olmoe(config, [broken], torch.float32) is None


def test_an_older_configuration_says_the_same(saved):
    raw = json.loads((saved() / "config.json").read_text())
    theta = raw.pop("rope_parameters")["rope_theta"]
    older = OlmoeConfig.parse({**raw, "rope_theta": theta, "rope_scaling": None})
    assert older is not None
    assert older.rotary.rope_theta == theta


def test_the_first_vector_of_the_built_in_model_imports_what_it_uses():
    code = (
        "import sys; from pipeline import Encoder; Encoder('mini', device='cpu').encode_raw(['a text'])\n"
        "heavy = {'transformers', 'scipy', 'sklearn', 'pandas', 'sympy', 'torch._dynamo', 'lancedb', 'ray'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
