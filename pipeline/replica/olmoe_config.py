"""The configuration of an OLMoE checkpoint, as far as our own model knows it.

Only the usual one: `OlmoeConfig.parse` answers None to anything else, such as another activation or scaled positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["OlmoeConfig", "Rotary"]


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
