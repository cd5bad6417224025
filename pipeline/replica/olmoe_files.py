"""OLMoE checkpoints, read without transformers where they are common ones.

Only the usual configuration is known here. `read_olmoe` and `OlmoeConfig.parse` answer None to anything else (another
activation, scaled positions, incomplete files). transformers then loads the checkpoint or says what is wrong with it.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from safetensors import safe_open

from pipeline.replica.olmoe import Olmoe

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import torch

__all__ = ["OlmoeConfig", "read_olmoe"]

EXPERT_WEIGHT: Final = re.compile(r"(layers\.\d+\.mlp\.experts)\.(\d+)\.(gate_proj|up_proj|down_proj)\.weight")
"""A matrix of one expert, as checkpoints name it: its layer's experts, its number, its projection."""


class Rotary(BaseModel):
    """Plain rotary positions: nothing about them is scaled."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    rope_theta: PositiveFloat
    rope_type: Literal["default"] = "default"


class OlmoeConfig(BaseModel):
    """What is read of a checkpoint's ``config.json``, under the names that transformers gives it."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", protected_namespaces=())

    model_type: Literal["olmoe"]
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    num_experts: PositiveInt
    num_experts_per_tok: PositiveInt
    max_position_embeddings: PositiveInt
    rms_norm_eps: PositiveFloat
    norm_topk_prob: bool = False
    pad_token_id: int | None = None
    rotary: Rotary = Field(validation_alias=AliasChoices("rope_parameters", "rotary"))
    hidden_act: Literal["silu"] = "silu"
    attention_bias: Literal[False] = False
    clip_qkv: None = None
    rope_scaling: None = None
    sliding_window: None = None
    head_dim: None = None
    quantization_config: None = None

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> OlmoeConfig | None:
        """From the content of ``config.json``; None where it says anything else, or leaves a size out."""
        older = {"rotary": {"rope_theta": raw["rope_theta"]}} if "rope_theta" in raw else {}
        try:
            config = cls.model_validate({**older, **raw})
        except ValidationError:
            return None
        heads = config.num_attention_heads
        return config if not config.hidden_size % heads and not heads % config.num_key_value_heads else None

    def get_text_config(self) -> OlmoeConfig:
        """Itself, as in transformers: all of it is about text."""
        return self


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
