"""How a job runs; none of it changes what the vectors mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pipeline.corpus import ReaderOptions
from pipeline.errors import UsageError
from pipeline.flow.cluster import Replicas

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SLICE_ROWS", "EmbedOptions"]

SLICE_ROWS: Final = 256
"""Rows in a slice, the ledger's unit, fixed in a table when it is made: 8 bytes of memory for so many rows."""

_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How an `embed` runs.

    text, id, keep: columns of the input (None: found by name) · limit: stop after so many rows of input, rounded up to
    whole slices · replicas: ``N``, ``MIN:MAX`` or None · with_text: store the texts · commit_rows, commit_seconds: a
    commit is made after so many rows or seconds.

    Raises:
        UsageError: a value that cannot be meant.
    """

    text: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()
    limit: int | None = None
    replicas: str | int | tuple[int, int] | Replicas | None = None
    device: str = "auto"
    with_text: bool = True
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    commit_rows: int = 65_536
    commit_seconds: float = 10.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "keep", (self.keep,) if isinstance(self.keep, str) else tuple(self.keep))
        Replicas.parse(self.replicas)
        if self.limit is not None and self.limit < 1:
            raise UsageError(f"limit={self.limit}: at least one row")
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"device={self.device!r}: auto, cpu, cuda or cuda:N")

    @property
    def reader(self) -> ReaderOptions:
        """What of it concerns reading."""
        return ReaderOptions(text=self.text, id=self.id, keep=self.keep, slice_rows=SLICE_ROWS)
