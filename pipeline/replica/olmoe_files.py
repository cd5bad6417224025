"""OLMoE checkpoints, read without transformers where they are common ones.

`read_olmoe` answers None to incomplete files. transformers then loads the checkpoint or says what is wrong with it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from safetensors import safe_open

from pipeline.replica.olmoe import Olmoe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import torch

    from pipeline.replica.olmoe_config import OlmoeConfig

__all__ = ["read_olmoe"]

EXPERT_WEIGHT: Final = re.compile(r"(layers\.\d+\.mlp\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight")
"""A matrix of one expert, as checkpoints name it: its layer's experts, its number, its projection."""


def read_olmoe(config: OlmoeConfig, files: Iterable[Path], dtype: torch.dtype) -> Olmoe | None:
    """The model with the weights in `files`, on the CPU; None where they are not exactly those of `config`.

    Raises:
        SafetensorError: a file is damaged.
    """
    model = Olmoe(config, dtype)
    filled: Counter[str] = Counter()
    seen: set[str] = set()
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 — not a mapping
                bare = name.removeprefix("model.")
                if bare == "lm_head.weight":
                    continue
                into, owner = _place(model, bare)
                weight = tensors.get_tensor(name)
                if into is None or into.shape != weight.shape or bare in seen:
                    return None
                into.copy_(weight)
                seen.add(bare)
                filled[owner] += weight.numel()
    whole = {name: parameter.numel() for name, parameter in model.named_parameters()}
    return model if filled == whole else None


def _place(model: Olmoe, name: str) -> tuple[torch.Tensor | None, str]:
    """Where the tensor `name` of a file goes, and the parameter that it is (a part of); None: nowhere."""
    single = EXPERT_WEIGHT.fullmatch(name)
    owner = name if single is None else f"{single[1]}.{'down_proj' if single[3] == 'down_proj' else 'gate_up_proj'}"
    try:
        parameter = model.get_parameter(owner).data
    except AttributeError:
        return None, owner
    if single is None:
        return parameter, owner
    expert, inner = int(single[2]), model.config.intermediate_size
    if expert >= model.config.num_experts:
        return None, owner
    rows = {"gate_proj": slice(inner), "up_proj": slice(inner, None), "down_proj": slice(None)}[single[3]]
    return parameter[expert, rows], owner
