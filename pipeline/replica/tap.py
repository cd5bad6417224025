"""The router tap reads every MoE layer's router through forward hooks, for any architecture.

transformers itself declares which modules are routers and where in their output the logits are: in each model's
``_can_record_outputs["router_logits"]``. Nothing is patched per model. The hooks keep only what pooling needs of each
router's output, so that nothing of size tokens × experts outlives its layer.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import torch
from torch.nn import functional

from pipeline.errors import ModelError
from pipeline.models.families import family_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from transformers import PreTrainedModel

    from pipeline.models.families import ScoreFunction

__all__ = ["SCORE_FUNCTIONS", "RouterTap", "score_function"]

UNDECLARED_ROUTERS: Final = MappingProxyType({"DeepseekV4HashRouter": 0})
"""Routers that transformers does not record: their class, and the index of the logits in their output.

A hash router's choice is fixed by the token, but its learned scores weigh what it chose.
"""

SCORE_FUNCTIONS: Final[Mapping[ScoreFunction, Callable[[torch.Tensor], torch.Tensor]]] = MappingProxyType(
    {
        "softmax": lambda logits: logits.softmax(dim=-1),
        "sigmoid": torch.sigmoid,
        "sqrtsoftplus": lambda logits: functional.softplus(logits).sqrt(),
        "identity": lambda logits: logits,
    }
)
"""Score functions by name: float32 logits [rows, experts] to scores of the same shape."""


@dataclass(frozen=True, slots=True)
class _Router:
    name: str
    module: torch.nn.Module
    index: int


class _Forward(threading.local):
    """What the tap reads in the current thread's forward."""

    reduce: Callable[[torch.Tensor], torch.Tensor] | None = None
    seen: dict[int, torch.Tensor]


class RouterTap:
    """Hooks on all routers of a model, in the order of its layers.

    Raises:
        ModelError: the model has no routers, so it is not a Mixture-of-Experts model, or some MoE layer has none.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._routers = _find_routers(model)
        kind = getattr(model.config, "model_type", type(model).__name__)
        if not self._routers:
            raise ModelError(f"{kind}: no router found, so this is not a Mixture-of-Experts model that MoEE can read")
        unread = [name for name in _experts(model) if not any(_belongs(router.name, name) for router in self._routers)]
        if unread:
            raise ModelError(f"{kind}: {len(unread)} layers' experts have no router that can be read: {unread[0]}, …")
        self._forward = _Forward()
        for position, router in enumerate(self._routers):
            router.module.register_forward_hook(self._hook(position, router.index))

    def __len__(self) -> int:
        """Number of MoE layers."""
        return len(self._routers)

    @property
    def names(self) -> list[str]:
        """The router modules' names, in the order of the layers."""
        return [router.name for router in self._routers]

    @property
    def widths(self) -> list[int]:
        """How many scores each router gives, read from the shapes of its weights."""
        return [_width(router.module) for router in self._routers]

    @contextmanager
    def reading(self, reduce: Callable[[torch.Tensor], torch.Tensor]) -> Generator[dict[int, torch.Tensor]]:
        """While the context lasts, each router's logits ``[rows, experts]`` are passed through `reduce` and kept.

        Yields the results by layer; after a forward it holds one entry for each MoE layer. Every thread has its own.
        """
        self._forward.reduce, self._forward.seen = reduce, {}
        try:
            yield self._forward.seen
        finally:
            self._forward.reduce = None

    def _hook(self, position: int, index: int) -> Callable[..., None]:
        def keep(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            if self._forward.reduce is None:
                return
            logits = output if isinstance(output, torch.Tensor) else output[index]
            self._forward.seen[position] = self._forward.reduce(logits.reshape(-1, logits.shape[-1]))

        return keep


def score_function(model: PreTrainedModel) -> ScoreFunction:
    """The model's own function from router logits to scores over all experts.

    Raises:
        ModelError: the architecture is not a verified one, and its configuration names no function.
    """
    config = model.config.get_text_config()
    family = family_of(config.model_type)
    fields = [family.scores_field] if family else ["scoring_func", "score_function"]
    declared = next((value for field in fields if (value := getattr(config, field, None)) in SCORE_FUNCTIONS), None)
    if declared is None and family is None:
        raise ModelError(
            f"{config.model_type}: not a verified architecture, so how its routers score is not known; "
            "use routing='logits' (moee models lists the verified ones)"
        )
    return declared or family.scores  # type: ignore[union-attr]


def _find_routers(model: PreTrainedModel) -> list[_Router]:
    """All router modules, each once, in the order in which the model's layers hold them.

    Where one is declared inside another (jetmoe: attention and its gate), the inner one is the router.
    """
    found: dict[str, _Router] = {}
    for name, module in model.named_modules():
        if type(module).__name__ in UNDECLARED_ROUTERS:
            found[name] = _Router(name, module, UNDECLARED_ROUTERS[type(module).__name__])
        for recorder in _recorders(module):
            for inner, candidate in module.named_modules(prefix=name):
                if isinstance(candidate, recorder.target_class) and (recorder.layer_name or "") in inner:
                    found.setdefault(inner, _Router(inner, candidate, recorder.index))
    order = [name for name, _ in model.named_modules() if name in found]
    return [found[name] for name in order if not any(other.startswith(f"{name}.") for other in order)]


def _width(router: torch.nn.Module) -> int:
    """Rows of the router's last matrix, less those for shared experts (inkling), which it does not hand out.

    A matrix of one row is a bias for the choice (ernie4_5_moe).
    """
    matrices = [weight for weight in router.parameters() if weight.dim() == 2 and len(weight) > 1]
    return matrices[-1].shape[0] - getattr(router, "n_shared_experts", 0)


def _recorders(module: torch.nn.Module) -> list[Any]:
    declared = (getattr(module, "_can_record_outputs", None) or {}).get("router_logits", [])
    return declared if isinstance(declared, list) else [declared]


def _experts(model: PreTrainedModel) -> Iterator[str]:
    """Names of the modules that hold a layer's experts."""
    return (name for name, _ in model.named_modules() if name.rpartition(".")[2] == "experts")


def _belongs(router: str, experts: str) -> bool:
    """Whether a router decides about these experts: beside them, around them or inside."""
    beside = router.rpartition(".")[0] == experts.rpartition(".")[0]
    return beside or experts.startswith(f"{router}.") or router.startswith(f"{experts}.")
