"""Checkpoint → headless model on its device: safetensors only, no remote code, and nothing missing.

OLMoE on a CPU is the package's own code (`pipeline.replica.olmoe`), which starts in half the time. transformers loads
everything else (`pipeline.replica.any_architecture`) and is imported only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from safetensors import SafetensorError

from pipeline.errors import ModelError
from pipeline.models.weights import read_weights, weight_files
from pipeline.replica.memory import refuse_too_large
from pipeline.replica.olmoe_config import OlmoeConfig
from pipeline.replica.olmoe_files import read_olmoe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pipeline.models import Checkpoint
    from pipeline.spec import Dtype, Quantization

__all__ = ["load_model", "resolve_device"]


def resolve_device(device: str) -> torch.device:
    """``auto`` is the first GPU where there is one.

    Raises:
        ModelError: the device is unknown to torch, or not on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"device {device!r}: not one that torch knows; use auto, cpu, cuda or cuda:N") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {device!r}: torch sees no GPU here; use --device cpu or auto")
    return resolved


def load_model(
    checkpoint: Checkpoint, *, dtype: Dtype, device: torch.device, quantization: Quantization = "none"
) -> PreTrainedModel:
    """Load the headless model in evaluation mode.

    Raises:
        ModelError: the architecture is unknown, the files are damaged or incomplete, or cannot be loaded as asked.
    """
    if device.type == "cpu" and quantization == "none":
        model = _written_out(checkpoint, dtype)
        if model is not None:
            return model
    from pipeline.replica.any_architecture import load_with_transformers

    return load_with_transformers(checkpoint, dtype=dtype, device=device, quantization=quantization)


def _written_out(checkpoint: Checkpoint, dtype: Dtype) -> PreTrainedModel | None:
    """The checkpoint as `pipeline.replica.olmoe_files` reads it; None: it is for transformers to load or to refuse."""
    try:
        config = OlmoeConfig.parse(checkpoint.config)
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    if config is None:
        return None
    weights = read_weights(checkpoint.name, checkpoint.path)
    refuse_too_large(checkpoint.name, weights, dtype=dtype, quantization="none", device=torch.device("cpu"))
    try:
        model = read_olmoe(config, weight_files(checkpoint.name, checkpoint.path), getattr(torch, dtype))
    except (SafetensorError, RuntimeError):  # a damaged file, or sizes that no memory holds
        return None
    # An `Olmoe` has the attributes and methods of a transformers model that replicas use.
    return None if model is None else cast("PreTrainedModel", model.eval().requires_grad_(requires_grad=False))
