"""A sample of what a plan would read: slices that lie evenly along it, read and tokenized as the run would."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow.compute as pc

from pipeline.corpus.readers import inflated_size
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from pipeline.corpus import WorkUnit
    from pipeline.flow.plan import Plan
    from pipeline.flow.stages import ReadStage

__all__ = ["Sample", "Stratum", "draw_sample"]

STRATA: Final = 16
"""Equal parts of a plan of which a slice each is read: some 4,000 documents, in a second or two."""

BYTES_AROUND: Final = 32
"""In a line of a stream beside its text: an id, names of fields."""

READ_SECONDS: Final = 20.0
"""For which reading may take; then the sample is what there is."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """What was read of a part of the plan."""

    weight: float
    """Rows of the unit that it stands for."""
    stream_bytes: int
    """Bytes of that unit where it is a stream, whose rows are reckoned from what was read; else 0."""
    read: int
    """Rows read, rejected ones among them."""
    rows: pa.Table
    """Documents, or their chunks."""
    tokens: pa.Table
    """Of each of them."""

    @property
    def n_tokens(self) -> int:
        """Tokens that a replica would see."""
        return pc.sum(pc.list_value_length(self.tokens.column("tokens"))).as_py() or 0


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of a plan, and what it says of all of it."""

    strata: tuple[Stratum, ...]
    rows: int
    """Rows of input in the plan; for streams reckoned from their size."""
    is_counted: bool
    """Whether `rows` is known and not reckoned."""
    read_seconds: float
    """That reading and tokenizing took."""

    @property
    def read(self) -> int:
        """Rows read."""
        return sum(stratum.read for stratum in self.strata)

    @property
    def read_tokens(self) -> int:
        """Tokens in them."""
        return sum(stratum.n_tokens for stratum in self.strata)

    def tokens_per_row(self, strata: slice = slice(None)) -> float:
        """Tokens that a row of input comes to, rejects counted as none."""
        chosen = self.strata[strata]
        weights = np.array([stratum.weight for stratum in chosen])
        means = np.array([stratum.n_tokens / max(stratum.read, 1) for stratum in chosen])
        return float((weights * means).sum() / max(weights.sum(), 1e-9))


def draw_sample(plan: Plan, read: ReadStage) -> Sample:
    """Read up to `STRATA` units that lie evenly along a plan, cut as small as slices allow.

    Raises:
        SourceError: nothing of what was read is a document.
    """
    plan = replace(plan, unit_rows=plan.options.slice_rows)
    units = rows = stream_bytes = 0
    for unit in plan:
        units, rows, stream_bytes = units + 1, rows + unit.rows, stream_bytes + _stream_bytes(unit)
    chosen = _chosen(units)
    strata: list[Stratum] = []
    began = time.monotonic()
    for at, unit in enumerate(plan):
        if at in chosen:
            strata.append(_stratum(unit, read))
        if len(strata) == len(chosen) or (strata and time.monotonic() - began > READ_SECONDS):
            break
    if not any(stratum.rows.num_rows for stratum in strata):
        raise SourceError("nothing of the sample can be embedded: a run with --limit 1000 tells why")
    return Sample(
        strata=tuple(strata),
        rows=rows + round(stream_bytes * _stream_rows_per_byte(strata)),
        is_counted=not stream_bytes,
        read_seconds=time.monotonic() - began,
    )


def _chosen(units: int) -> frozenset[int]:
    """Of so many units those in the middle of equal parts."""
    parts = min(units, STRATA)
    return frozenset(int((part + 0.5) * units / parts) for part in range(parts))


def _stratum(unit: WorkUnit, read: ReadStage) -> Stratum:
    """The first batch of a unit: all of it, but for streams, which go on."""
    parcel = next(read.parcels(unit))
    assert parcel.tokens is not None
    stream_bytes = _stream_bytes(unit)
    weight = float(unit.rows)
    if stream_bytes:
        read_bytes = stream_bytes if parcel.n_units else _text_bytes(parcel.rows) + parcel.n_read * BYTES_AROUND
        weight = stream_bytes * parcel.n_read / max(read_bytes, 1)
    return Stratum(weight, stream_bytes, parcel.n_read, parcel.rows, parcel.tokens)


def _text_bytes(rows: pa.Table) -> int:
    return pc.sum(pc.binary_length(rows.column("text"))).as_py() or 0


def _stream_bytes(unit: WorkUnit) -> int:
    """Bytes of text in the streams of a unit; how many rows they are is known when they are read."""
    return sum(inflated_size(part.file) for part in unit.parts if part.slices is None)


def _stream_rows_per_byte(strata: Sequence[Stratum]) -> float:
    streams = [stratum for stratum in strata if stratum.stream_bytes]
    return sum(stratum.weight for stratum in streams) / max(sum(stratum.stream_bytes for stratum in streams), 1)
