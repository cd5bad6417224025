"""How forwards read quantized experts: one matrix at a time, or a whole layer in a dense buffer that layers share.

Our forward for CPUs (`pipeline.replica.forward.experts`) asks for one expert's matrix when it multiplies, so that the
matrix is used while it is in the cache, and experts without tokens are never dequantized. Grouped kernels on GPUs, and
the few architectures that do not go through ``ALL_EXPERTS_FUNCTIONS``, want all experts of a layer as one tensor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pipeline.replica.forward.experts import PADDED_GROUPS
from pipeline.replica.quantization.weights import QuantizedWeight

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["attach"]


def attach(model: PreTrainedModel) -> None:
    """Let forwards find the quantized experts; call it when the model is on its device. Dense models are left alone."""
    shared: dict[tuple[int, ...], torch.Tensor] = {}
    for layer in [module for name, module in model.named_modules() if name.rpartition(".")[2] == "experts"]:
        stored = [(owner, name, weight) for owner in layer.modules() for name, weight in _quantized_in(owner)]
        if not stored or _goes_one_by_one(layer):
            continue
        filled: list[tuple[QuantizedWeight, torch.Tensor]] = []
        for place, (owner, name, weight) in enumerate(stored):
            key = (place, *weight.shape)
            if key not in shared:
                shared[key] = torch.empty(weight.shape, dtype=weight.dtype, device=weight.packed.device)
            filled.append((weight, shared[key]))
            vars(owner)[name] = shared[key].flatten(0, 1) if hasattr(owner, "ffn_hidden_size") else shared[key]
        layer.register_forward_pre_hook(_filling(filled))


def _goes_one_by_one(layer: torch.nn.Module) -> bool:
    dispatched = hasattr(layer, "has_gate")  # what ``use_experts_implementation`` leaves on a module
    return dispatched and getattr(layer.config, "_experts_implementation", None) == PADDED_GROUPS


def _quantized_in(owner: torch.nn.Module) -> list[tuple[str, QuantizedWeight]]:
    return [(name, child) for name, child in owner.named_children() if isinstance(child, QuantizedWeight)]


def _filling(filled: list[tuple[QuantizedWeight, torch.Tensor]]) -> Any:
    def fill(_experts: torch.nn.Module, _inputs: Any) -> None:
        for weight, buffer in filled:
            weight.write(buffer)

    return fill
