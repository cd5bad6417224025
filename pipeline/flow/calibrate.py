"""The calibration of a new table: a sample of the documents planned first, encoded once, before anything else.

What the sample's texts came out as is handed on to the replicas, which need not encode them again: in a small corpus
that is all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import to_ipc
from pipeline.embedding.calibration import SAMPLE_SIZE, choose_sample
from pipeline.embedding.table_rows import made_table
from pipeline.flow.plan import MAX_CANDIDATES
from pipeline.flow.poison.items import CALIBRATION, Item, one_by_one
from pipeline.flow.stages import build_watched
from pipeline.models import reference_texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.corpus import WorkUnit
    from pipeline.embedding.encoder import Encoder
    from pipeline.embedding.vectors import Vectors
    from pipeline.flow.encoder_plan import EncoderPlan
    from pipeline.flow.poison.items import Watch
    from pipeline.flow.stages import ReadStage

__all__ = ["Calibrated", "calibrate", "sample_texts"]

MAX_CHARACTERS: Final = 32_768
"""Longer texts of the sample are not handed on."""

TEXTS_PER_ITEM: Final = 8
"""Texts that are tried together after a death."""


def sample_texts(units: Iterable[WorkUnit], read: ReadStage) -> list[str]:
    """The calibration sample: the texts with the lowest hash among the first `MAX_CANDIDATES` documents or chunks.

    A corpus with fewer than `SAMPLE_SIZE` distinct texts is topped up from the package's reference texts.
    """
    found: list[pa.ChunkedArray] = []
    count = 0
    for parcel in (parcel for unit in units for parcel in read.parcels(unit)):
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


def calibrate(encoder: EncoderPlan, units: Iterable[WorkUnit], read: ReadStage) -> tuple[Calibrated, Encoder]:
    """Calibrate, in the process of a replica; the calibrated encoder, too, which may go on embedding there."""
    built = build_watched(encoder, read.watch)
    texts = sample_texts(units, read)
    if read.watch.begin(CALIBRATION, CALIBRATION):
        texts = _harmless(built, texts, read.watch)
    vectors = built.calibrated(texts)
    read.watch.end(CALIBRATION)
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
