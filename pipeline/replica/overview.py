"""What a checkpoint is, without loading its weights: read from its configuration and its files' headers.

The model is built on torch's ``meta`` device, which holds shapes and no numbers, and the router tap is laid on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch
from transformers import AutoModel

from pipeline.errors import ModelError
from pipeline.models.families import family_of
from pipeline.models.quiet import quiet_transformers
from pipeline.models.weights import read_weights
from pipeline.replica.architecture import read_config, text_part
from pipeline.replica.memory import needed_memory
from pipeline.replica.tap import RouterTap, score_function
from pipeline.spec import EmbeddingSpec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.models import Checkpoint

__all__ = ["overview"]

EXPERTS_PER_TOKEN_FIELDS: Final = ("num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts", "moe_top_k")
"""Configuration fields that hold the number of experts a token goes through."""


def overview(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's architecture and sizes, ready for JSON.

    ``hidden`` and ``routing`` are H and R, the lengths of the two halves; ``verified`` says whether the architecture
    is in `pipeline.models.families`; ``defaults`` is what an `EmbeddingSpec` becomes where it leaves a field open.

    Raises:
        ModelError: the checkpoint cannot become a replica.
    """
    config = read_config(checkpoint)
    weights = read_weights(checkpoint.name, checkpoint.path)
    model = _shapes_only(checkpoint, config)
    tap = RouterTap(model)
    text = model.config.get_text_config()
    kind, family = text.model_type, family_of(text.model_type)
    spec = EmbeddingSpec(model=checkpoint.name).resolve(checkpoint.defaults)
    experts = tap.widths
    return {
        "model": checkpoint.name,
        "path": str(checkpoint.path),
        "architecture": config.model_type if kind == config.model_type else f"{kind} in {config.model_type}",
        "verified": family is not None,
        "layers": _layers(text),
        "moe_layers": len(tap),
        "experts": max(experts),
        "experts_per_token": next(
            (value for name in EXPERTS_PER_TOKEN_FIELDS if isinstance(value := getattr(text, name, None), int)), None
        ),
        "hidden": text.hidden_size,
        "routing": sum(experts),
        "scores": score_function(model) if family else None,
        "batches": family.layout if family else None,
        "quantizes": family.fused if family else None,
        "positions": getattr(text, "max_position_embeddings", None),
        "parameters": sum(weight.elements for weight in weights),
        "expert_parameters": sum(weight.elements for weight in weights if weight.of_experts),
        "bytes": {
            "float32": needed_memory(weights, "float32"),
            "bfloat16": needed_memory(weights, "bfloat16"),
            **({"nf4": needed_memory(weights, "bfloat16", "nf4")} if family and family.fused else {}),
        },
        "defaults": {name: getattr(spec, name) for name in ("prompt", "pooling", "routing", "combine", "alpha")},
        "note": family.note if family else "not a verified architecture: it is probed when it is loaded",
    }


def _shapes_only(checkpoint: Checkpoint, config: Any) -> PreTrainedModel:
    try:
        with quiet_transformers(), torch.device("meta"):
            return text_part(AutoModel.from_config(config, trust_remote_code=False))
    except (ValueError, KeyError, RuntimeError, NotImplementedError, AttributeError, TypeError) as error:
        raise ModelError(f"model {checkpoint.name!r}: its config.json does not describe a model: {error}") from error


def _layers(config: Any) -> int | None:
    found = (getattr(config, name, None) for name in ("num_hidden_layers", "num_layers", "encoder_layers"))
    return next((value for value in found if isinstance(value, int)), None)
