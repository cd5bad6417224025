"""What a replica's weights take, kind by kind, and the check that quantized means quantized.

Promise 5 of docs/design.md: the experts' bytes shrank, and nothing else was touched.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import torch

from pipeline.errors import ModelError
from pipeline.replica.quantization.weights import QuantizedWeight, is_expert_matrix

if TYPE_CHECKING:
    from collections.abc import Collection

    from pipeline.spec import Quantization

__all__ = ["Footprint", "KindOfWeight", "footprint_of", "refuse_unquantized"]

logger = logging.getLogger(__name__)

KindOfWeight = Literal["experts", "attention", "router", "norms", "embeddings", "other"]

MAX_QUANTIZED_SHARE: Final = {"nf4": 0.29, "int8": 0.54}
"""Largest share of their 16-bit size that quantized experts may take: 4.5 and 8 bits an element, with scales."""

MIN_INT8_COLUMNS: Final = 64
"""With fewer columns, int8's scale for each row takes more than that share allows."""

ATTENTION_NAME: Final = re.compile(r"(?:^|[._])(?:\w*attn|\w*attention|mixer|mamba|linear_attn|short_conv)\b")
NORM_NAME: Final = re.compile(r"norm", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one kind of weight."""

    kind: KindOfWeight
    dense: int
    """What they would take in the replica's dtype."""
    stored: int
    """What they take as they are held."""


def footprint_of(model: torch.nn.Module, routers: Collection[str]) -> tuple[Footprint, ...]:
    """Bytes by kind, the largest first; `routers` are the names of the router modules."""
    dtype: torch.dtype = getattr(model, "dtype", torch.float32)
    dense: defaultdict[KindOfWeight, int] = defaultdict(int)
    stored: defaultdict[KindOfWeight, int] = defaultdict(int)
    for name, module in model.named_modules():
        if isinstance(module, QuantizedWeight):
            dense["experts"] += module.elements * dtype.itemsize
            stored["experts"] += module.stored_bytes
            continue
        for own_name, weight in module.named_parameters(recurse=False):
            kind = _kind(f"{name}.{own_name}".lstrip("."), module, routers)
            dense[kind] += weight.numel() * dtype.itemsize
            stored[kind] += weight.numel() * weight.element_size()
    kinds = sorted(dense, key=lambda kind: -dense[kind])
    return tuple(Footprint(kind, dense[kind], stored[kind]) for kind in kinds)


def refuse_unquantized(model: torch.nn.Module, footprints: tuple[Footprint, ...], quantization: Quantization) -> None:
    """Raise ModelError unless the experts, and they alone, are stored as asked."""
    kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
    for weights in footprints:
        logger.info(
            "%s: %s take %.1f MB, %.1f MB if dense", kind, weights.kind, weights.stored / 1e6, weights.dense / 1e6
        )
    if quantization == "none":
        return
    left = [name for name, _ in model.named_parameters() if is_expert_matrix(name)]
    if left:
        raise ModelError(f"{kind}: {len(left)} expert matrices were not quantized, {left[0]} among them")
    matrices = [module for module in model.modules() if isinstance(module, QuantizedWeight)]
    allowed = sum(2 * weight.elements * _share(weight, quantization) for weight in matrices)
    if not matrices or sum(weight.stored_bytes for weight in matrices) > allowed:
        raise ModelError(f"{kind}: its experts did not shrink as {quantization} must make them")
    touched = [weights.kind for weights in footprints if weights.kind != "experts" and weights.stored < weights.dense]
    if touched:
        raise ModelError(f"{kind}: {', '.join(touched)} weights were quantized too, and only experts may be")


def _share(weight: QuantizedWeight, quantization: Quantization) -> float:
    _, rows, columns = weight.shape
    if quantization == "int8":
        return MAX_QUANTIZED_SHARE["int8"] + (2 / columns if columns < MIN_INT8_COLUMNS else 0)
    return MAX_QUANTIZED_SHARE["nf4"] + 32 / (rows * columns)


def _kind(name: str, module: torch.nn.Module, routers: Collection[str]) -> KindOfWeight:
    if is_expert_matrix(name) or re.search(r"(^|\.)experts\.", name):
        return "experts"
    if any(name.startswith(f"{router}.") for router in routers):
        return "router"
    if isinstance(module, torch.nn.Embedding):
        return "embeddings"
    if NORM_NAME.search(type(module).__name__):
        return "norms"
    if ATTENTION_NAME.search(name):
        return "attention"
    return "norms" if NORM_NAME.search(name) else "other"
