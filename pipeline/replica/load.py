"""Checkpoint → headless model: safetensors only, no remote code, and nothing missing.

The base model is loaded without its language-model head, since nothing reads next-token logits here. What
transformers would only report (weights that the files lack, and that would stay random) is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, PreTrainedModel

from pipeline.errors import ModelError
from pipeline.models.quiet import quiet_transformers
from pipeline.replica.experts import PADDED_GROUPS

if TYPE_CHECKING:
    from pipeline.models import Checkpoint
    from pipeline.spec import Dtype

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


def load_model(checkpoint: Checkpoint, *, dtype: Dtype, device: torch.device) -> PreTrainedModel:
    """Load the headless model in evaluation mode.

    Raises:
        ModelError: the architecture is unknown, the files are damaged or incomplete, or cannot be loaded as asked.
    """
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise ModelError(
            f"model {checkpoint.name!r}: its config.json is not one that transformers knows: {_first_line(error)}"
        ) from error
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(f"model {checkpoint.name!r} ({config.model_type}): encoder-decoder models are not read yet")
    options: dict[str, Any] = {"experts_implementation": PADDED_GROUPS} if device.type == "cpu" else {}
    with quiet_transformers():
        try:
            model, report = AutoModel.from_pretrained(
                checkpoint.path,
                config=config,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
        except SafetensorError as error:
            raise ModelError(f"model {checkpoint.name!r}: a weight file is damaged: {_first_line(error)}") from error
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(f"model {checkpoint.name!r} cannot be loaded: {_first_line(error)}") from error
    _refuse_gaps(checkpoint.name, report)
    return model.to(device).eval().requires_grad_(requires_grad=False)


def _refuse_gaps(name: str, report: dict[str, Any]) -> None:
    missing = sorted(report.get("missing_keys") or ())
    mismatched = sorted(str(entry) for entry in report.get("mismatched_keys") or ())
    if missing or mismatched:
        first = (missing + mismatched)[0]
        raise ModelError(
            f"model {name!r}: {len(missing)} weights are missing and {len(mismatched)} have another shape, "
            f"{first} among them; the checkpoint is incomplete or not of the architecture that its config.json says"
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
