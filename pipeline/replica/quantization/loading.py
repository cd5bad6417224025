"""Quantizing while loading: every layer's experts are read, merged, quantized and dropped before the next layer's.

transformers reads and merges (its conversion mappings turn single experts into fused parameters) and hands each
parameter over as it is complete; ours to quantize are the experts' matrices and nothing else. The files are read, not
mapped: a mapping would keep the whole checkpoint in the process's memory as long as one of its tensors lives.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from safetensors import safe_open
from transformers import AutoModel, PreTrainedModel
from transformers.core_model_loading import Concatenate, ConversionOps, MergeModulelist, WeightConverter
from transformers.integrations.mxfp4 import convert_moe_packed_tensors
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from pipeline.errors import ModelError
from pipeline.replica.quantization.weights import FORMATS, QuantizedWeight, is_expert_matrix, quantized

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from transformers import PreTrainedConfig

    from pipeline.replica.quantization.weights import ExpertFormat
    from pipeline.spec import Quantization

__all__ = ["holds_mxfp4", "read_model"]

METHOD: Final = "moee_experts"
"""The name under which transformers finds our quantizer."""


def holds_mxfp4(name: str, config: PreTrainedConfig) -> bool:
    """Whether the checkpoint is stored in MXFP4, which `read_model` undoes; the configuration then forgets it.

    Raises:
        ModelError: the weights are quantized by any other method.
    """
    part = config if getattr(config, "quantization_config", None) is not None else config.get_text_config()
    own: Any = getattr(part, "quantization_config", None)
    if own is None:
        return False
    own = own if isinstance(own, dict) else own.to_dict()
    method = str(own.get("quant_method") or ("bitsandbytes" if any(key.startswith("load_in_") for key in own) else ""))
    if method == "mxfp4":
        del part.quantization_config
        return True
    raise ModelError(
        f"model {name!r} is already quantized ({method or 'by a method that it does not name'}), and that can be "
        "neither checked nor undone; take the checkpoint that it was made from, with quantization='nf4' or 'int8'"
    )


def read_model(
    files: Iterable[Path],
    how: Quantization,
    *,
    mxfp4: bool,
    config: PreTrainedConfig,
    dtype: torch.dtype,
    device: torch.device,
    **options: Any,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Load a model from its weight files, tensor by tensor, and what transformers reports about that.

    `options` are ``from_pretrained``'s. The quantized experts lie on `device`, all else on the CPU.

    Raises:
        ModelError: transformers fuses no experts in this architecture, so that there is nothing to quantize.
    """
    with torch.device("meta"):
        skeleton = AutoModel.from_config(config)
    if how != "none":
        if not any(is_expert_matrix(name) for name, _ in skeleton.named_parameters()):
            raise ModelError(
                f"{config.model_type}: its experts are not matrices that transformers fuses, and only such can be "
                f"quantized; use quantization='none' instead of {how!r}"
            )
        made: Any = _ExpertsConfig  # transformers' decorator hides its signature
        options["quantization_config"] = made(how, dtype, device)
    return cast("Any", type(skeleton)).from_pretrained(
        None,
        config=config,
        state_dict=_tensors(files, mxfp4=mxfp4, dtype=dtype),
        dtype=dtype,
        output_loading_info=True,
        **options,
    )


def _tensors(files: Iterable[Path], *, mxfp4: bool, dtype: torch.dtype) -> dict[str, Any]:
    """The tensors of a checkpoint by name, each read when it is indexed with ``[...]``."""
    opened = [safe_open(file, framework="pt", backend="pread") for file in files]
    tensors: dict[str, Any] = {name: file.get_slice(name) for file in opened for name in file.keys()}  # noqa: SIM118
    if mxfp4:
        for name in [name for name in tensors if name.endswith("_blocks")]:
            bare = name.removesuffix("_blocks")
            tensors[bare] = _Mxfp4Tensor(tensors.pop(name), tensors.pop(f"{bare}_scales"), dtype)
    return tensors


def _give_back() -> None:
    """Let the C library return freed memory to the system: matrices of single experts leave its heap full of holes."""
    with suppress(OSError, AttributeError):  # only glibc has this
        ctypes.CDLL(None).malloc_trim(0)


class _Mxfp4Tensor:
    """A tensor that the checkpoint holds in MXFP4 (blocks of 32 and their scales), dequantized when it is read."""

    def __init__(self, blocks: Any, scales: Any, dtype: torch.dtype) -> None:
        self._blocks, self._scales, self._dtype = blocks, scales, dtype

    def __getitem__(self, _all: Any) -> torch.Tensor:
        return convert_moe_packed_tensors(self._blocks[...], self._scales[...], dtype=self._dtype)


@register_quantization_config(METHOD)
class _ExpertsConfig(QuantizationConfigMixin):
    quant_method: Any = METHOD

    def __init__(self, how: ExpertFormat, dtype: torch.dtype, device: torch.device) -> None:
        self.how: ExpertFormat = how
        self.dtype, self.device = str(dtype).removeprefix("torch."), str(device)  # configurations are kept as JSON

    @property
    def place(self) -> dict[str, Any]:
        """Where quantized weights lie, and the dtype of their dense form."""
        return {"dtype": getattr(torch, self.dtype), "device": torch.device(self.device)}


@register_quantizer(METHOD)
class _ExpertsQuantizer(HfQuantizer):
    """Tells transformers which parameters are ours; the work is `_Quantize`'s."""

    requires_calibration = False

    def param_needs_quantization(self, model: PreTrainedModel, param_name: str, **_others: Any) -> bool:  # noqa: ARG002
        return is_expert_matrix(param_name)

    def get_quantize_ops(self) -> ConversionOps:
        return _Quantize(self.quantization_config)

    def update_weight_conversions(self, weight_conversions: list[Any], model: PreTrainedModel) -> list[Any]:  # noqa: ARG002
        return [_expert_by_expert(conversion, self.quantization_config) for conversion in weight_conversions]

    def is_serializable(self) -> Any:
        return False

    @property
    def is_trainable(self) -> Any:
        return False


class _Quantize(ConversionOps):
    """Puts a `QuantizedWeight` in the place of a parameter that has just been read."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted

    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **context: Any
    ) -> dict[str, Any]:
        del source_patterns, target_patterns  # the names are the parameters' own by now
        for name in list(input_dict):
            value = input_dict.pop(name)
            self._replace(context["model"], name, value[0] if isinstance(value, list) else value)
            context["missing_keys"].discard(name)
        _give_back()
        return {}

    def _replace(self, model: PreTrainedModel, name: str, weight: torch.Tensor | QuantizedWeight) -> None:
        path, _, own_name = name.rpartition(".")
        owner: Any = model.get_submodule(path)
        expected = owner.get_parameter(own_name).shape
        if tuple(weight.shape) != tuple(expected):
            raise ModelError(f"{name} is {list(weight.shape)} in the files and {list(expected)} in the architecture")
        if isinstance(weight, torch.Tensor):
            if weight.dim() == 2:
                weight = weight.view(-1, owner.ffn_hidden_size, weight.shape[1])
            weight = quantized(weight, self._wanted.how, **self._wanted.place)
        delattr(owner, own_name)
        setattr(owner, own_name, weight)
        setattr(owner, "_is_hf_initialized", True)  # noqa: B010  # transformers' mark: no random weights here


class _ExpertByExpert(ConversionOps):
    """Merges and quantizes one expert at a time what transformers would merge for all, in a second copy of them."""

    def __init__(self, operations: list[ConversionOps], wanted: Any) -> None:
        self._operations, self._wanted = operations, wanted

    def convert(
        self, input_dict: dict[str, Any], source_patterns: list[str], target_patterns: list[str], **context: Any
    ) -> dict[str, Any]:
        parts = {source: input_dict.pop(source) for source in list(input_dict)}
        experts = min(map(len, parts.values()))
        target, stored = "", None
        for expert in range(experts):
            merged: dict[str, Any] = {}
            for source, tensors in parts.items():
                merged[source], tensors[expert] = [tensors[expert]], None
            for operation in self._operations:
                merged = operation.convert(merged, source_patterns, target_patterns, **context)
            target, matrix = merged.popitem()
            if stored is None:
                stored = FORMATS[self._wanted.how]((experts, *matrix.shape[1:]), **self._wanted.place)
            stored.store(expert, matrix[0].to(stored.packed.device))
        return {target: stored}


def _expert_by_expert(conversion: Any, wanted: Any) -> Any:
    """The conversion itself, or one that quantizes as it merges, where it treats each expert alike."""
    if not isinstance(conversion, WeightConverter) or not all(map(is_expert_matrix, conversion.target_patterns)):
        return conversion
    merge, *rest = conversion.operations
    if not isinstance(merge, MergeModulelist) or merge.dim != 0 or len(conversion.target_patterns) != 1:
        return conversion
    if not all(isinstance(operation, Concatenate) and operation.dim == 1 for operation in rest):
        return conversion
    conversion = deepcopy(conversion)
    conversion.operations = [_ExpertByExpert(conversion.operations, wanted)]
    return conversion
