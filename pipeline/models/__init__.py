"""Checkpoints: where they are, what identifies them, what they bring; and the built-in model's files."""

from __future__ import annotations

from pipeline.models.checkpoints import MINI, Checkpoint, describe, locate, reference_texts

__all__ = ["MINI", "Checkpoint", "describe", "locate", "reference_texts"]
