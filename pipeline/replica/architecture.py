"""Which model a checkpoint's configuration asks for, and which part of it reads text.

The configuration alone is read, before any weights: what cannot work is refused here, with the reason.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from huggingface_hub.errors import StrictDataclassError
from transformers import CONFIG_MAPPING, AutoConfig, GenerationMixin, PreTrainedConfig, PreTrainedModel

from pipeline.errors import ModelError
from pipeline.models.families import REFUSED
from pipeline.replica import deepseek

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from pipeline.models import Checkpoint

__all__ = ["read_config", "text_part"]

CONFIG_OVERRIDES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "switch_transformers": {"expert_capacity": 2**31},
        "nllb-moe": {
            "moe_eval_capacity_token_fraction": 1.0,
            "second_expert_policy": "all",
            "router_ignore_padding_tokens": True,
        },
    }
)
"""Configuration that keeps a document from depending on its batch mates or on chance.

Experts with a capacity drop the tokens beyond it, in NLLB those of later documents in the batch; NLLB's second expert
can be drawn at random, and its padding mask is inverted under SDPA (5.23).
"""


def read_config(checkpoint: Checkpoint) -> PreTrainedConfig:
    """The checkpoint's configuration, as the replica wants it.

    Raises:
        ModelError: it is damaged, of no architecture that transformers has, or of one that cannot serve.
    """
    name = checkpoint.name
    try:
        raw = checkpoint.config
        kind = str(raw.get("model_type"))
    except (OSError, ValueError, AttributeError) as error:
        raise ModelError(f"model {name!r}: {checkpoint.path / 'config.json'} is not a JSON object: {error}") from error
    if kind in REFUSED:
        raise ModelError(f"model {name!r} ({kind}) cannot be used: {REFUSED[kind]}")
    if kind == "deepseek":
        deepseek.register()
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=False)
    except (ValueError, KeyError, OSError, TypeError, StrictDataclassError) as error:
        if "auto_map" in raw and kind not in CONFIG_MAPPING:
            raise ModelError(
                f"model {name!r} ({kind}) needs Python code from its own repository, and such code is never run; "
                "take a model that transformers itself knows (moee models lists them)"
            ) from error
        raise ModelError(
            f"model {name!r}: its config.json is not one that transformers knows: {_one_line(error)}"
        ) from error
    for field, value in CONFIG_OVERRIDES.get(config.model_type, {}).items():
        setattr(config, field, value)
    return config


def text_part(model: PreTrainedModel) -> PreTrainedModel:
    """The part that turns tokens into states: an encoder–decoder's encoder, the text model of a composite, or all.

    What is left out (a decoder, an image tower) is freed.
    """
    if model.config.is_encoder_decoder:
        part = model.get_encoder()
    elif model.config.get_text_config() is not model.config:
        part = model.get_decoder()
    else:
        part = model
    if isinstance(part, GenerationMixin):  # some composites hold their text model with its language-model head
        part = part.model
    if not isinstance(part, PreTrainedModel):
        raise ModelError(f"{model.config.model_type}: its text part cannot be told from the rest")
    for module in part.modules():
        if type(module).__name__ == "NllbMoeExperts":
            module.register_forward_pre_hook(_two_experts)
    return part


def _two_experts(_experts: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """NLLB's experts expect the indices and weights of each token's two experts, but are called with dense masks.

    Up to transformers 5.23 every token therefore goes through experts 0 and 1, whatever the router said.
    """
    hidden, chosen, weights = inputs
    if weights.shape[-1] > 2:
        weights, chosen = weights.topk(2, dim=-1)
    return hidden, chosen, weights


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
