"""DeepSeek-MoE-16B (``model_type: deepseek``) without its repository's code.

transformers has no such type, but the text model of DeepSeek-OCR-2 *is* that architecture: plain multi-head
attention, shared experts, a softmax over all experts whose top-k weights are not normalised. What differs is how the
configuration names the dense layers, and that each expert's matrices lie in tensors of their own. Once `register` has
told transformers so, `AutoConfig` and `AutoModel` read such checkpoints like any other.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, AutoModel
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping
from transformers.models.deepseek_ocr2.configuration_deepseek_ocr2 import DeepseekOcr2TextConfig
from transformers.models.deepseek_ocr2.modeling_deepseek_ocr2 import DeepseekOcr2TextModel

__all__ = ["DeepseekConfig", "DeepseekModel", "register"]


@strict
class DeepseekConfig(DeepseekOcr2TextConfig):
    """The fields of DeepSeek-MoE's own configuration, translated; what cannot be translated is refused."""

    model_type = "deepseek"

    first_k_dense_replace: int = 0
    moe_layer_freq: int = 1
    norm_topk_prob: bool = False
    scoring_func: str = "softmax"

    def __post_init__(self, **kwargs: Any) -> None:
        """Name each layer's kind: the first ones are dense, then every `moe_layer_freq`-th is sparse."""
        if self.norm_topk_prob or self.scoring_func != "softmax":
            raise ValueError("deepseek: only softmax routers without normalised top-k weights are known")
        if self.mlp_layer_types is None:
            self.mlp_layer_types = [
                "sparse" if layer >= self.first_k_dense_replace and layer % self.moe_layer_freq == 0 else "dense"
                for layer in range(self.num_hidden_layers)
            ]
        super().__post_init__(**kwargs)


class DeepseekModel(DeepseekOcr2TextModel):
    """`DeepseekOcr2TextModel` under a name of its own, to which the checkpoint's naming of experts is registered."""

    config_class = DeepseekConfig


@cache
def register() -> None:
    """Teach transformers to read such checkpoints: experts are named one by one, as in Qwen2-MoE's."""
    AutoConfig.register("deepseek", DeepseekConfig)
    AutoModel.register(DeepseekConfig, DeepseekModel)
    mapping: Any = get_checkpoint_conversion_mapping("qwen2_moe")
    register_checkpoint_conversion_mapping("deepseek", mapping)
