"""The encoder of a worker process: built there from a small description that travelled, and calibrated for a new table.

The calibration is made of a sample of the documents planned first, encoded once, before anything else. What the
sample's texts came out as is handed on to the replicas, which need not encode them again: in a small corpus that is
all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import from_ipc, to_ipc
from pipeline.embedding.calibration import SAMPLE_SIZE, Calibration, choose_sample
from pipeline.embedding.table_rows import made_table
from pipeline.flow.plan import MAX_CANDIDATES
from pipeline.flow.poison.items import BUILD, CALIBRATION, Item, one_by_one
from pipeline.models import reference_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.embedding.encoder import Encoder
    from pipeline.embedding.vectors import Vectors
    from pipeline.flow.parcel import Parcel
    from pipeline.flow.poison.items import Watch
    from pipeline.spec import EmbeddingSpec, Meaning

__all__ = ["Calibrated", "EncoderPlan", "build_watched", "calibrate"]

MAX_CHARACTERS: Final = 32_768
"""Longer texts of the sample are not handed on."""

TEXTS_PER_ITEM: Final = 8
"""Texts that are tried together after a death."""


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


def build_watched(encoder: EncoderPlan, watch: Watch) -> Encoder:
    """Build an encoder, of which the tracker knows in case that the process dies of it."""
    name = f"{BUILD} {watch.process}"
    watch.begin(name, BUILD)
    built = encoder.build()
    watch.end(name)
    return built


def _sample_texts(parcels: Iterable[Parcel]) -> list[str]:
    """The calibration sample: the texts with the lowest hash among the first `MAX_CANDIDATES` documents or chunks.

    A corpus with fewer than `SAMPLE_SIZE` distinct texts is topped up from the package's reference texts.
    """
    found: list[pa.ChunkedArray] = []
    count = 0
    for parcel in parcels:
        found.append(parcel.rows.column("text"))
        count += parcel.rows.num_rows
        if count >= MAX_CANDIDATES:
            break
    chunks = [chunk for column in found for chunk in column.chunks]
    sample = choose_sample(pa.chunked_array(chunks, pa.large_string()).slice(0, MAX_CANDIDATES))
    return sample + choose_sample(pa.array(reference_texts()), SAMPLE_SIZE - len(sample))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What calibrating gives."""

    calibration: bytes
    """`Calibration.to_arrow` as Arrow IPC."""
    sample: bytes
    """Rows of text and vector, made under this calibration, as Arrow IPC."""
    halves: tuple[int, int]
    """(H, R): sizes of hidden state and routing weights."""


def calibrate(encoder: EncoderPlan, parcels: Iterable[Parcel], watch: Watch) -> tuple[Calibrated, Encoder]:
    """Calibrate by what is read first, in a replica's process; the encoder, too, which may go on embedding there."""
    built = build_watched(encoder, watch)
    texts = _sample_texts(parcels)
    if watch.begin(CALIBRATION, CALIBRATION):
        texts = _harmless(built, texts, watch)
    vectors = built.calibrated(texts)
    watch.end(CALIBRATION)
    made = Calibrated(to_ipc(built.calibration.to_arrow()), to_ipc(_sample_rows(texts, vectors)), built.halves)
    return made, built


def _sample_rows(texts: Sequence[str], vectors: Vectors) -> pa.Table:
    """Rows of the sample that are worth handing on: sound vectors, of texts that do not take much memory."""
    rows = made_table(vectors).add_column(0, "text", pa.array(texts, pa.large_string()))
    short = pc.less(pc.utf8_length(rows.column("text")), MAX_CHARACTERS).to_numpy()
    return rows.filter(pa.array(short & np.isfinite(vectors.vectors).all(axis=1)))


def _harmless(encoder: Encoder, texts: Sequence[str], watch: Watch) -> list[str]:
    """The texts without the few with which the process died: a sample may lack some, and need not blame one."""
    starts = range(0, len(texts), TEXTS_PER_ITEM)
    items = {Item(CALIBRATION, "", 0, start): range(start, min(start + TEXTS_PER_ITEM, len(texts))) for start in starts}
    made, _ = one_by_one(watch, CALIBRATION, items, lambda rows: encoder.encode_raw([texts[row] for row in rows]))
    return [texts[row] for row in sorted(row for rows, _ in made for row in rows)]
