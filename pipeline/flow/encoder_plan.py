"""What a worker process builds for itself: the encoder, from the small description that travelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.columns import from_ipc
from pipeline.embedding.calibration import Calibration

if TYPE_CHECKING:
    from pipeline.embedding.encoder import Encoder
    from pipeline.spec import EmbeddingSpec, Meaning

__all__ = ["EncoderPlan"]


@dataclass(frozen=True, slots=True)
class EncoderPlan:
    """How to build an encoder elsewhere."""

    spec: EmbeddingSpec
    """Resolved."""
    meaning: Meaning
    """What the spec meant where it was planned."""
    device: str
    threads: int | None
    """CPU threads; None: as many as torch takes."""
    calibration: bytes | None = None
    """Arrow IPC of `Calibration.to_arrow`; None: none yet."""

    def build(self) -> Encoder:
        """Load the model in this process.

        Raises:
            FingerprintError: the checkpoint found on this machine is not the one that was planned with.
        """
        import torch

        from pipeline.embedding.encoder import Encoder

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        packed = self.calibration
        calibration = None if packed is None else Calibration.from_arrow(from_ipc(packed))
        encoder = Encoder(self.spec, self.device, calibration=calibration)
        encoder.refuse_other_meaning(self.meaning)
        return encoder
