"""Checkpoints: where they are, what identifies them, what they bring; and the built-in model's files."""

from __future__ import annotations

from pipeline.models.checkpoints import MINI, Checkpoint, locate, reference_texts, resolve_spec

__all__ = ["MINI", "Checkpoint", "locate", "reference_texts", "resolve_spec"]
