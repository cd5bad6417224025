"""What `pipeline.replica` asks of transformers and bitsandbytes beyond their documented API: read this at an upgrade.

What a test shows is a library's behaviour, on its own classes; that the replica then computes the right thing is shown
beside each of its modules. Workarounds have a test that fails once they are no longer needed.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from transformers import AttentionInterface, AutoModel
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.core_model_loading import Concatenate, MergeModulelist, WeightConverter
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

from pipeline.replica.quantization.loading import METHOD, is_expert_matrix

IDS = torch.arange(3, 20)[None]
FUSED = ("olmoe", "mixtral", "qwen3_moe", "deepseek_v3", "gpt_oss")


@pytest.fixture
def seen():
    """Calls of an experts function that is registered as ``semantics``: each test's takes the place of the last."""
    calls = []

    def record(experts, hidden_states, top_k_index, top_k_weights):
        calls.append((experts, hidden_states, top_k_index, top_k_weights))
        return torch.zeros_like(hidden_states)

    ALL_EXPERTS_FUNCTIONS.register("semantics", record)
    return calls


class TestExperts:
    """`forward.experts`: a function under a name of one's own stands in for a layer's experts."""

    @pytest.mark.parametrize("kind", FUSED)
    def test_it_is_called_with_rows_choices_and_weights(self, tiny_model, seen, kind):
        model = AutoModel.from_config(tiny_model(kind).config, experts_implementation="semantics").eval()
        with torch.no_grad():
            model(IDS)
        experts, states, index, weights = seen[-1]
        assert states.shape == (17, 32)
        assert index.shape == weights.shape == (17, 2)
        assert (index.dtype, int(index.max()) < experts.num_experts) == (torch.int64, True)

    @pytest.mark.parametrize("kind", FUSED)
    def test_the_module_says_how_its_matrices_lie(self, tiny_model, seen, kind):
        model = AutoModel.from_config(tiny_model(kind).config, experts_implementation="semantics").eval()
        with torch.no_grad():
            model(IDS)
        experts = seen[-1][0]
        first, last = (experts.gate_up_proj if experts.has_gate else experts.up_proj), experts.down_proj
        inner = first.shape[2 if experts.is_transposed else 1] // (2 if experts.has_gate else 1)
        assert last.shape[1 if experts.is_transposed else 2] == inner
        assert len(first) == len(last) == experts.num_experts
        assert experts.has_post_expert_norm in {True, False}
        assert experts._apply_gate(torch.zeros(5, 2 * inner)).shape == (5, inner)
        assert experts.has_bias == hasattr(experts, "gate_up_proj_bias") == (kind == "gpt_oss")

    def test_an_unknown_name_is_refused(self, tiny_model):
        with pytest.raises((ValueError, KeyError), match="nobody"):
            AutoModel.from_config(tiny_model("olmoe").config, experts_implementation="nobody")(IDS)


class TestAttention:
    """`forward.attention`, `forward.packing`."""

    def test_a_function_of_ones_own_gets_unknown_keywords_and_no_mask(self, tiny_model):
        calls = []

        def record(module, query, key, value, attention_mask, **others):
            calls.append((module, query.shape, key.shape, attention_mask, others))
            return torch.zeros(1, query.shape[2], query.shape[1], value.shape[3]), None

        AttentionInterface.register("semantics", record)
        model = tiny_model("olmoe")
        model.set_attn_implementation("semantics")
        with torch.no_grad():
            model(input_ids=IDS, position_ids=torch.arange(17)[None], segments="ours", use_cache=False)
        module, query, key, mask, others = calls[-1]
        assert len(calls) == 3
        assert (query, key) == ((1, 4, 17, 8), (1, 2, 17, 8))
        assert mask is None
        assert others["segments"] == "ours"
        assert others["scaling"] == pytest.approx(query[-1] ** -0.5)
        assert module.is_causal

    def test_it_is_exchanged_after_loading(self, tiny_model):
        model = tiny_model("olmoe")
        with torch.no_grad():
            model.set_attn_implementation("eager")
            eager = model(IDS).last_hidden_state
            model.set_attn_implementation("sdpa")
            torch.testing.assert_close(model(IDS).last_hidden_state, eager, rtol=1e-4, atol=1e-5)


class TestRouters:
    """`tap`: what a model declares about its routers."""

    @pytest.mark.parametrize("kind", FUSED)
    def test_it_declares_their_class_and_where_the_logits_stand(self, tiny_model, kind):
        model = tiny_model(kind)
        recorder = model._can_record_outputs["router_logits"]
        assert isinstance(recorder.index, int)
        assert recorder.layer_name is None or isinstance(recorder.layer_name, str)
        routers = [module for module in model.modules() if isinstance(module, recorder.target_class)]
        outputs = []
        for router in routers:
            router.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        with torch.no_grad():
            model(IDS)
        assert outputs
        for output in outputs:
            logits = output if isinstance(output, torch.Tensor) else output[recorder.index]
            assert logits.reshape(-1, logits.shape[-1]).shape == (17, 4)

    def test_deepseek_v4_still_leaves_its_hash_routers_out(self, tiny_model):
        """If this fails, `tap.UNDECLARED` can go."""
        model = tiny_model("deepseek_v4")
        declared = model._can_record_outputs["router_logits"]
        classes = tuple(each.target_class for each in (declared if isinstance(declared, list) else [declared]))
        (router,) = [module for module in model.modules() if type(module).__name__ == "DeepseekV4HashRouter"]
        assert not isinstance(router, classes)

    def test_nllb_still_calls_its_experts_with_dense_masks(self, tiny_model):
        """If this fails, the hook in `architecture.text_part` can go."""
        model, widths = tiny_model("nllb-moe"), []
        for module in model.modules():
            if type(module).__name__ == "NllbMoeExperts":
                module.register_forward_pre_hook(lambda _module, inputs: widths.append(inputs[2].shape[-1]))
        with torch.no_grad():
            model.get_encoder()(IDS)
        assert set(widths) == {4}


class TestLoading:
    """`quantization.loading`: experts are merged and quantized while tensors are read."""

    def test_single_experts_are_merged_along_dimension_0_and_gates_joined_along_1(self):
        conversions = {
            tuple(each.target_patterns): each.operations
            for each in get_checkpoint_conversion_mapping("qwen2_moe")
            if isinstance(each, WeightConverter) and all(map(is_expert_matrix, each.target_patterns))
        }
        assert {target[0].rpartition(".")[2] for target in conversions} == {"gate_up_proj", "down_proj"}
        for (target,), (merge, *rest) in conversions.items():
            assert isinstance(merge, MergeModulelist)
            assert merge.dim == 0
            joined = [(type(each), each.dim) for each in rest]
            assert joined == ([(Concatenate, 1)] if target.endswith("gate_up_proj") else [])

    def test_tensors_are_read_one_by_one_when_they_are_indexed(self, tiny_model):
        model, read = tiny_model("olmoe"), []

        class Lazy:
            def __init__(self, name, tensor):
                self.name, self.tensor = name, tensor

            def __getitem__(self, everything):
                read.append(self.name)
                return self.tensor[everything]

            def get_shape(self):
                return list(self.tensor.shape)

            def get_dtype(self):
                return "F32"

        state = {name: Lazy(name, tensor) for name, tensor in model.state_dict().items()}
        loaded, report = type(model).from_pretrained(
            None, config=model.config, state_dict=state, dtype=torch.float32, output_loading_info=True
        )
        assert sorted(read) == sorted(state)
        assert not report["missing_keys"]
        assert not report["mismatched_keys"]
        with torch.no_grad():
            torch.testing.assert_close(loaded.eval()(IDS).last_hidden_state, model(IDS).last_hidden_state)

    def test_what_is_missing_is_reported_and_no_error(self, tiny_model):
        model = tiny_model("olmoe")
        state = {name: tensor for name, tensor in model.state_dict().items() if "layers.1.mlp.gate." not in name}
        _, report = type(model).from_pretrained(None, config=model.config, state_dict=state, output_loading_info=True)
        assert set(report["missing_keys"]) == {"layers.1.mlp.gate.weight"}

    def test_a_quantizer_of_ones_own_is_found_by_its_name(self):
        assert AUTO_QUANTIZER_MAPPING[METHOD].__name__ == "_ExpertsQuantizer"


class TestBitsandbytes:
    """`quantization.weights`."""

    def test_importing_it_asks_no_hub_for_kernels(self, tmp_path):
        """A ``kernels`` package that is installed is hidden while bitsandbytes is imported, and there afterwards."""
        (tmp_path / "kernels.py").write_text("raise SystemExit('kernels were imported')")
        code = (
            "import logging, sys; logging.basicConfig(level=logging.WARNING)\n"
            "from pipeline.replica.quantization.weights import _bitsandbytes\n"
            "print(callable(_bitsandbytes().dequantize_4bit), 'kernels' in sys.modules)"
        )
        shown = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (shown.stdout, shown.stderr, shown.returncode) == ("True False\n", "", 0)

    def test_a_state_put_together_by_hand_is_read(self):
        from pipeline.replica.quantization.weights import _bitsandbytes

        functional = _bitsandbytes()
        matrix = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
        packed, state = functional.quantize_4bit(matrix, blocksize=64, quant_type="nf4")
        mine = functional.QuantState(
            absmax=state.absmax, shape=(4, 64), dtype=torch.float32, blocksize=64, quant_type="nf4"
        )
        assert packed.numel() == matrix.numel() // 2
        torch.testing.assert_close(
            functional.dequantize_4bit(packed, mine), functional.dequantize_4bit(packed, state), rtol=0, atol=0
        )
