from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModel, GptOssConfig, MistralConfig, MixtralConfig

from pipeline.errors import ModelError
from pipeline.replica import replica as module
from pipeline.replica.batch import TokenBatch
from pipeline.replica.forward.packing import lay_out
from pipeline.replica.load import load_model, resolve_device
from pipeline.replica.replica import Replica

SIZES = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
}


def batch(lengths, seed=0):
    lengths = np.array(lengths, dtype=np.int64)
    ids = np.random.default_rng(seed).integers(3, 90, lengths.sum(), dtype=np.int32)
    return TokenBatch(ids, lengths, np.minimum(1, lengths - 1), lengths)


def mixtral(**more):
    torch.manual_seed(0)
    return AutoModel.from_config(MixtralConfig(**SIZES, **more)).eval()


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("window", [None, 6])
def test_packed_and_padded_agree_also_under_a_sliding_window(pooling, window):
    replica = Replica(mixtral(sliding_window=window))
    assert replica.layout == "packed"
    packed = replica.forward(batch([3, 17, 1, 30]), pooling)
    replica._use("padded")
    padded = replica.forward(batch([3, 17, 1, 30]), pooling)
    for one, other in zip(packed, padded, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_an_attention_that_packing_does_not_know_falls_back_to_padding():
    torch.manual_seed(0)
    config = GptOssConfig(**SIZES, head_dim=8)
    assert Replica(AutoModel.from_config(config).eval()).layout == "padded"


def test_a_model_whose_batches_leak_is_refused(monkeypatch):
    model = mixtral()
    forward = model.forward

    def leaking(**inputs):
        out = forward(**inputs)
        if inputs["input_ids"].numel() > 64 or inputs["input_ids"].shape[0] > 1:
            out.last_hidden_state = out.last_hidden_state.roll(5, dims=-1)
        return out

    monkeypatch.setattr(model, "forward", leaking)
    monkeypatch.setattr(module, "PROBE_LENGTHS", (60, 23, 5))
    with pytest.raises(ModelError, match="not be batch-independent"):
        Replica(model)


def test_packed_rows_come_in_few_lengths_and_keep_every_token():
    tokens = batch([5, 9])
    inputs = lay_out(tokens.ids, tokens.lengths, layout="packed", pad=0, device=torch.device("cpu"))
    assert inputs.kwargs["input_ids"].shape == (1, 64)
    np.testing.assert_array_equal(inputs.kwargs["input_ids"][0, :14], tokens.ids)
    assert inputs.kwargs["position_ids"][0, :14].tolist() == [*range(5), *range(9)]
    assert inputs.kwargs["segments"].stops == (5, 14, 64)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ModelError, match="not one that torch knows"):
        resolve_device("abacus")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="no GPU here"):
            resolve_device("cuda")


class TestLoading:
    @pytest.fixture
    def saved(self, tmp_path):
        mixtral().save_pretrained(tmp_path)
        return tmp_path

    def load(self, path):
        from pipeline.models import locate

        return load_model(locate(str(path)), dtype="float32", device=torch.device("cpu"))

    def test_a_whole_checkpoint_loads(self, saved):
        assert self.load(saved).config.model_type == "mixtral"

    def test_missing_weights_are_refused(self, saved):
        from safetensors.torch import load_file, save_file

        weights = load_file(saved / "model.safetensors")
        weights.pop(next(name for name in sorted(weights) if "expert" in name))
        save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ModelError):
            self.load(saved)

    def test_a_damaged_file_is_refused(self, saved):
        (saved / "model.safetensors").write_bytes(b"not a checkpoint")
        with pytest.raises(ModelError, match=r"damaged|cannot be loaded"):
            self.load(saved)

    def test_an_unknown_architecture_is_refused(self, saved):
        (saved / "config.json").write_text('{"model_type": "nonsense"}')
        with pytest.raises(ModelError, match=r"config\.json"):
            self.load(saved)

    def test_a_dense_checkpoint_is_no_replica(self, tmp_path):
        sizes = {name: value for name, value in SIZES.items() if name != "num_local_experts"}
        AutoModel.from_config(MistralConfig(**sizes)).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="not a Mixture-of-Experts"):
            Replica(self.load(tmp_path))
