"""The Mixture-of-Experts architectures that were verified, as data: what `moee models` lists and replicas rely on.

Each was built small and loaded by the tests, which compare this table with what they find: that the router tap sees
every MoE layer, that the scores reproduce the weights with which the model mixes its experts, and that a sequence
gives in a batch what it gives alone. An architecture that transformers has and this table lacks can still be tried:
a replica probes itself, pads its batches, and reads scores where the configuration names their function.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAMILIES", "REFUSED", "UNVERIFIED", "Family", "ScoreFunction", "family_of"]

ScoreFunction = Literal["softmax", "sigmoid", "sqrtsoftplus", "identity"]
"""From a router's logits to its scores over all experts; ``identity``: the router hands out scores itself."""


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture."""

    model_type: str
    """Its name in ``config.json``."""
    scores: ScoreFunction
    """The score function of its routers."""
    layout: Literal["packed", "padded"] = "packed"
    """``packed``: without padding; ``padded``: packing was seen to be wrong, if only beyond the probe's lengths."""
    scores_field: str = ""
    """The configuration field that may name another score function."""
    fused: bool = True
    """All experts of a layer lie in one parameter, which `pipeline.replica` can quantize."""
    within: tuple[str, ...] = ()
    """Composite architectures whose text part this is."""
    note: str = ""
    """A remark for people."""


_ALL: Final = (
    Family("afmoe", "sigmoid"),
    Family("aria_text", "softmax", within=("aria",)),
    Family("axk1", "sigmoid"),
    Family("axk2", "sigmoid", "padded"),
    Family("bailing_hybrid", "sigmoid", "padded"),
    Family("beam", "sigmoid"),
    Family("cohere2_moe", "softmax", scores_field="expert_selection_fn"),
    Family("dbrx", "softmax"),
    Family("deepseek", "softmax", note="DeepSeek-MoE-16B, by the package's own translation: no remote code"),
    Family("deepseek_v2", "softmax"),
    Family("deepseek_v3", "sigmoid"),
    Family("deepseek_v32", "sigmoid", "padded"),
    Family(
        "deepseek_v4", "sqrtsoftplus", "padded", scores_field="scoring_func", note="hash-routed layers are read too"
    ),
    Family("dots1", "sigmoid"),
    Family("dots3_note_text", "sigmoid", "padded"),
    Family("ernie4_5_moe", "softmax"),
    Family("exaone_moe", "sigmoid"),
    Family("flex_olmo", "softmax"),
    Family("flint", "sigmoid", "padded"),
    Family("gemma4_text", "identity", within=("gemma4",), note="routers hand out scores only: no routing='logits'"),
    Family("glm4_moe", "sigmoid"),
    Family("glm4_moe_lite", "sigmoid"),
    Family("glm4v_moe_text", "sigmoid", within=("glm4v_moe",)),
    Family("glm5_next_text", "sigmoid", "padded", within=("glm5_next",)),
    Family("glm_moe_dsa", "sigmoid", "padded"),
    Family("gpt_oss", "softmax", "padded"),
    Family("granitemoe", "softmax"),
    Family("granitemoe_swa", "softmax", "padded"),
    Family("granitemoehybrid", "softmax", "padded"),
    Family("granitemoeshared", "softmax"),
    Family("hunyuan_v1_moe", "softmax"),
    Family("hy_v3", "sigmoid"),
    Family("hy_v4", "sigmoid", "padded"),
    Family("inkling2_text", "sigmoid", "padded", scores_field="scoring_func"),
    Family("inkling_text", "sigmoid", "padded", within=("inkling_mm_model",)),
    Family("jamba", "softmax", "padded"),
    Family("jetmoe", "softmax", fused=False, note="two routers a layer: attention's experts are read too"),
    Family("kimi_linear", "sigmoid", "padded"),
    Family("kolibri1", "sigmoid"),
    Family("laguna", "sigmoid"),
    Family("lfm2_moe", "sigmoid", "padded"),
    Family("llama4_text", "sigmoid", "padded", within=("llama4",), note="its attention chunks are in the mask only"),
    Family("longcat_flash", "softmax"),
    Family("mellum", "softmax"),
    Family("mimo_v2_flash", "sigmoid", "padded"),
    Family("minimax", "softmax", "padded"),
    Family("minimax_m2", "sigmoid"),
    Family("minimax_m3_vl_text", "sigmoid", "padded", within=("minimax_m3_vl",)),
    Family("mistral4", "softmax"),
    Family("mistral_large4_text", "softmax", "padded", within=("mistral_large4",)),
    Family("mixtral", "softmax"),
    Family("muse_spark_text", "sigmoid"),
    Family("nemotron_h", "sigmoid", "padded"),
    Family("nllb-moe", "softmax", "padded", fused=False, note="encoder only; no expert capacity"),
    Family("olmoe", "softmax"),
    Family("openai_privacy_filter", "softmax", "padded"),
    Family("phimoe", "softmax", "padded", note="its attention window is in the mask only"),
    Family("qwen2_moe", "softmax"),
    Family("qwen3_5_moe_text", "softmax", "padded", within=("qwen3_5_moe",)),
    Family("qwen3_moe", "softmax"),
    Family("qwen3_next", "softmax", "padded"),
    Family("qwen3_vl_moe_text", "softmax", within=("qwen3_vl_moe",)),
    Family("qwen4_exp_text", "softmax", "padded", within=("qwen4_exp",)),
    Family("solar_open", "sigmoid"),
    Family("switch_transformers", "softmax", "padded", fused=False, note="encoder only; no expert capacity"),
    Family("zaya", "softmax", "padded", note="one more score than experts: the choice to skip them"),
)

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType({family.model_type: family for family in _ALL})

REFUSED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "doge": "its router mixes the tokens of a batch, so that a document's vector would depend on its batch mates",
        "diffusion_gemma": "it denoises a whole canvas of tokens: there is no last token's state to read",
    }
)
"""Architectures with routers that cannot serve, each with the reason."""

UNVERIFIED: Final = ("deepseek_ocr2", "ernie4_5_vl_moe", "qwen3_omni_moe_thinker", "step3p7", "unlimited_ocr")
"""Composites whose text part transformers builds inside them only: untested, so that their scores are not read."""

_COMPOSITES: Final = {composite: family for family in _ALL for composite in family.within}


def family_of(model_type: str) -> Family | None:
    """The verified family of an architecture or of a composite's text part; None: not among them."""
    return FAMILIES.get(model_type) or _COMPOSITES.get(model_type)
