"""Checkpoints of any architecture that transformers knows, loaded by transformers: no remote code, nothing missing.

The base model is loaded without its language-model head, since nothing reads next-token logits here. What
transformers would only report (weights that the files lack, and that would stay random) is an error.

Importing this module teaches transformers our attention over packed sequences and our experts for CPUs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from transformers import AttentionInterface, AutoModel, PreTrainedModel
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from pipeline.errors import ModelError, first_line
from pipeline.models.quiet import quiet_transformers
from pipeline.models.weights import read_weights, weight_files
from pipeline.replica.architecture import read_config, text_part
from pipeline.replica.forward.attention import PACKED_ATTENTION, packed_attention
from pipeline.replica.forward.experts import PADDED_GROUPS, grouped_forward
from pipeline.replica.memory import refuse_too_large
from pipeline.replica.quantization.forward import attach
from pipeline.replica.quantization.loading import holds_mxfp4, read_model

if TYPE_CHECKING:
    from pipeline.models import Checkpoint
    from pipeline.spec import Dtype, Quantization

__all__ = ["load_with_transformers"]


def load_with_transformers(
    checkpoint: Checkpoint, *, dtype: Dtype, device: torch.device, quantization: Quantization = "none"
) -> PreTrainedModel:
    """The headless model in evaluation mode.

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


AttentionInterface.register(PACKED_ATTENTION, packed_attention)
ALL_EXPERTS_FUNCTIONS.register(PADDED_GROUPS, grouped_forward)
