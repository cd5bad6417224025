"""The router tap: what every MoE layer's router says, through forward hooks, for any architecture.

Which module is a router, and where in its output the logits stand, is what transformers itself declares in each
model's ``_can_record_outputs["router_logits"]``; nothing is patched per model. The hooks keep only what pooling
wants of each router's output, so that nothing of size tokens × experts outlives its layer.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

__all__ = ["RouterTap", "ScoreFunction", "score_function"]

ScoreFunction = str
"""``softmax`` or ``sigmoid`` over all experts, or ``identity`` where the router already hands out scores."""

SIGMOID_ROUTERS = frozenset(
    {"deepseek_v3", "glm4_moe", "glm4v_moe", "dots1", "minimax_m2", "lfm2_moe", "llama4", "llama4_text", "afmoe"}
)
"""Architectures whose routers score by sigmoid without saying so in their configuration."""


@dataclass(frozen=True, slots=True)
class _Router:
    name: str
    module: torch.nn.Module
    index: int


class RouterTap:
    """Hooks on all routers of a model, in the order of its layers.

    Raises:
        ModelError: the model has no routers, so it is not a Mixture-of-Experts model, or some MoE layer has none.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._routers = _find_routers(model)
        if not self._routers:
            kind = getattr(model.config, "model_type", type(model).__name__)
            raise ModelError(f"{kind}: no router found, so this is not a Mixture-of-Experts model that MoEE can read")
        expert_layers = sum(name.rpartition(".")[2] == "experts" for name, _ in model.named_modules())
        if expert_layers > len(self._routers):
            raise ModelError(
                f"{model.config.model_type}: {expert_layers} layers have experts, "
                f"but only {len(self._routers)} routers can be read"
            )
        self._reduce: Callable[[torch.Tensor], torch.Tensor] | None = None
        self._seen: dict[int, torch.Tensor] = {}
        for position, router in enumerate(self._routers):
            router.module.register_forward_hook(self._hook(position, router.index))

    def __len__(self) -> int:
        """Number of MoE layers."""
        return len(self._routers)

    @contextmanager
    def reading(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> Generator[dict[int, torch.Tensor]]:
        """While the context lasts, each router's logits ``[rows, experts]`` are passed through `reduce` and kept.

        Yields the results by layer; after a forward it holds one entry for each MoE layer.
        """
        self._reduce, self._seen = reduce, {}
        try:
            yield self._seen
        finally:
            self._reduce = None

    def _hook(self, position: int, index: int) -> Callable[..., None]:
        def keep(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            if self._reduce is None:
                return
            logits = output if isinstance(output, torch.Tensor) else output[index]
            self._seen[position] = self._reduce(logits.reshape(-1, logits.shape[-1]))

        return keep


def score_function(model: PreTrainedModel) -> ScoreFunction:
    """The model's own function from router logits to scores over all experts."""
    config = model.config.get_text_config()
    declared = getattr(config, "scoring_func", None) or getattr(config, "score_function", None)
    if declared in {"softmax", "sigmoid"}:
        return declared
    return "sigmoid" if config.model_type in SIGMOID_ROUTERS else "softmax"


def _find_routers(model: PreTrainedModel) -> list[_Router]:
    """All router modules, each once, in the order in which the model's layers hold them."""
    found: dict[int, _Router] = {}
    for root_name, root in model.named_modules():
        if not isinstance(root, PreTrainedModel):
            continue
        for recorder in _recorders(root):
            for name, module in root.named_modules(prefix=root_name):
                if isinstance(module, recorder.target_class) and (recorder.layer_name or "") in name:
                    found.setdefault(id(module), _Router(name, module, recorder.index))
    return list(found.values())


def _recorders(model: PreTrainedModel) -> list[Any]:
    declared = (getattr(model, "_can_record_outputs", None) or {}).get("router_logits", [])
    return declared if isinstance(declared, list) else [declared]
