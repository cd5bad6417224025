"""Checkpoint → headless model: safetensors only, no remote code, and nothing missing.

The base model is loaded without its language-model head, since nothing reads next-token logits here. What
transformers would only report (weights that the files lack, and that would stay random) is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoModel, PreTrainedModel

from pipeline.errors import ModelError, first_line
from pipeline.models.quiet import quiet_transformers
from pipeline.models.weights import read_weights, weight_files
from pipeline.replica.architecture import read_config, text_part
from pipeline.replica.forward.experts import PADDED_GROUPS
from pipeline.replica.memory import refuse_too_large
from pipeline.replica.quantization.forward import attach
from pipeline.replica.quantization.loading import holds_mxfp4, read_model

if TYPE_CHECKING:
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
    config = read_config(checkpoint)
    mxfp4 = holds_mxfp4(checkpoint.name, config)
    weights = read_weights(checkpoint.name, checkpoint.path)
    refuse_too_large(checkpoint.name, weights, dtype=dtype, quantization=quantization, device=device)
    options: dict[str, Any] = {"experts_implementation": PADDED_GROUPS} if device.type == "cpu" else {}
    options |= {"config": config, "dtype": getattr(torch, dtype)}
    with quiet_transformers():
        try:
            if mxfp4 or quantization != "none":
                files = weight_files(checkpoint.name, checkpoint.path)
                model, report = read_model(files, quantization, mxfp4=mxfp4, device=device, **options)
            else:
                model, report = AutoModel.from_pretrained(
                    checkpoint.path,
                    use_safetensors=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    **options,
                )
        except SafetensorError as error:
            raise ModelError(f"model {checkpoint.name!r}: a weight file is damaged: {first_line(error)}") from error
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = first_line(error)
            if "conversion of the weights" in reason:  # of transformers, which prints the particulars as a table
                reason = "some experts' weights are missing, or have another shape than the others"
            raise ModelError(f"model {checkpoint.name!r} cannot be loaded: {reason}") from error
    _refuse_gaps(checkpoint.name, report)
    part: Any = text_part(model)
    part = part.to(device).eval().requires_grad_(requires_grad=False)
    attach(part)
    return part


def _refuse_gaps(name: str, report: dict[str, Any]) -> None:
    missing = sorted(report.get("missing_keys") or ())
    mismatched = sorted(str(entry) for entry in report.get("mismatched_keys") or ())
    if missing or mismatched:
        first = (missing + mismatched)[0]
        raise ModelError(
            f"model {name!r}: {len(missing)} weights are missing and {len(mismatched)} have another shape, "
            f"{first} among them; the checkpoint is incomplete or not of the architecture that its config.json says"
        )
