"""How a job runs; none of it changes what the vectors mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from pipeline.corpus import ReaderOptions
from pipeline.embedding.chunks import Chunking
from pipeline.errors import UsageError
from pipeline.flow.engines.cluster import Replicas
from pipeline.flow.max_rejects import MaxRejects
from pipeline.table.schema import CHUNKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.table import VectorTable

__all__ = ["SLICE_ROWS", "EmbedOptions"]

SLICE_ROWS: Final = 256
"""Rows in a slice, the ledger's unit, fixed in a table when it is made: 8 bytes of memory for so many rows."""

CHUNKED_SLICE_ROWS: Final = 32
"""The same where rows become chunks: documents are long then, and each gives many rows of the table."""

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How an `embed` runs.

    text, id, keep: columns of the input (None: found by name) · limit: stop after so many rows of input, rounded up to
    whole slices · chunk: ``WINDOW`` or ``WINDOW:OVERLAP`` in tokens, into which documents are split; None: as the table
    has it, else texts are cut at the spec's limit · replicas: ``N``, ``MIN:MAX`` or None · with_text: store the texts ·
    prune: remove what the table has of files below the sources that are gone · dedup: take vectors over from documents
    of the table with the same text · drop_duplicates: reject documents whose text the table has · max_rejects: stop
    when a run rejects more than so many rows of input, ``N`` or ``P%`` · retry_rejects: try those rejected documents
    again whose reason can pass · wait: seconds to wait for another driver that is at work on the table · commit_rows,
    commit_seconds: a commit is made after so many rows or seconds.

    Raises:
        UsageError: a value that cannot be meant.
    """

    text: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()
    limit: int | None = None
    chunk: Chunking | str | int | tuple[int, int] | None = None
    replicas: str | int | tuple[int, int] | Replicas | None = None
    device: str = "auto"
    with_text: bool = True
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    prune: bool = False
    dedup: bool = False
    drop_duplicates: bool = False
    max_rejects: str | int | None = None
    retry_rejects: bool = False
    wait: float = 0.0
    commit_rows: int = 65_536
    commit_seconds: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", (self.keep,) if isinstance(self.keep, str) else tuple(self.keep))
        object.__setattr__(self, "chunk", Chunking.parse(self.chunk))
        taken = sorted({*self.keep} & {*CHUNKS.names}) if self.chunk else []
        if taken:
            raise UsageError(f"column {taken[0]!r} cannot be kept: chunks have a column of that name of their own")
        if (self.dedup or self.drop_duplicates) and not self.with_text:
            raise UsageError("texts cannot be compared with those of a table that stores none: leave --no-text out")
        if self.drop_duplicates and self.chunk:
            raise UsageError("--drop-duplicates compares whole texts, which a table of chunks does not hold")
        Replicas.parse(self.replicas)
        MaxRejects.parse(self.max_rejects)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit={self.limit}: at least one row")
        if not self.wait >= 0:
            raise UsageError(f"wait={self.wait}: seconds, at least 0")
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"device={self.device!r}: auto, cpu, cuda or cuda:N")

    @property
    def reader(self) -> ReaderOptions:
        """What of it concerns reading."""
        slice_rows = SLICE_ROWS if self.chunk is None else CHUNKED_SLICE_ROWS
        return ReaderOptions(text=self.text, id=self.id, keep=self.keep, slice_rows=slice_rows)

    @property
    def chunking(self) -> Chunking | None:
        """`chunk` as it was understood."""
        return Chunking.parse(self.chunk)

    def fixed_by(self, table: VectorTable) -> Self:
        """These options with the chunking of the table.

        Raises:
            UsageError: another one was asked for.
        """
        fixed = Chunking.parse(table.reader.get("chunk"))
        if self.chunk is not None and self.chunk != fixed:
            made = "without chunks" if fixed is None else f"with chunks of {fixed}"
            raise UsageError(f"--chunk {self.chunk}: {table.location} was made {made}, which is fixed")
        return replace(self, chunk=fixed)
