"""Reading a unit that has killed its process: slice by slice, each announced to the tracker before it is touched.

A slice that kills twice is passed over and rejected as a whole. A stream must be counted through where it is not
parsed; where even that kills (a broken compressed block, say), it ends there, as a damaged one does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from pipeline.corpus import DocumentBatch, FileRecord, WorkUnit, read_slices
from pipeline.corpus.document_checks import documents_schema
from pipeline.corpus.reading import every_row
from pipeline.corpus.slices import slice_of
from pipeline.flow.poison.items import MAX_STRIKES, Item, killed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pyarrow as pa

    from pipeline.corpus import ReaderOptions, UnitPart
    from pipeline.corpus.reading import Only
    from pipeline.flow.poison.items import Watch

__all__ = ["READ", "CarefulReader"]

READ = "read"


@dataclass(frozen=True, slots=True)
class CarefulReader:
    """Reads one unit; the arguments of `read_unit`, and the tracker with the unit's name there."""

    watch: Watch
    unit: str
    options: ReaderOptions
    keep: pa.Schema
    is_done: Callable[[int], bool]
    storage_options: Mapping[str, Any] | None
    only: Only = every_row

    def read(self, unit: WorkUnit) -> Iterator[DocumentBatch]:
        """The unit's documents and rejects; every slice that is not finished is a batch of its own."""
        for part in unit.parts:
            yield from self._stream(part) if part.slices is None else self._known(part)

    def _known(self, part: UnitPart) -> Iterator[DocumentBatch]:
        for each in part.slices or ():
            item = Item(READ, part.file.uri, each.id, -1)
            if self.is_done(each.id):
                continue
            if self.watch.announce(self.unit, item) >= MAX_STRIKES:
                yield self._quarantined([item])
            else:
                yield from self._slices(replace(part, slices=(each,)), self.is_done)

    def _stream(self, part: UnitPart) -> Iterator[DocumentBatch]:
        steps = _Steps(part, self)
        try:
            steps.announce()
            for batch in self._slices(part, steps.is_done):
                yield batch
                steps.announce()
        except _CannotPassError:
            yield self._quarantined([*steps.killed, steps.item], steps.record())
            return
        if steps.killed:
            yield self._quarantined(steps.killed)

    def _slices(self, part: UnitPart, is_done: Callable[[int], bool]) -> Iterator[DocumentBatch]:
        return read_slices(
            WorkUnit((part,)),
            self.options,
            keep=self.keep,
            is_done=is_done,
            storage_options=self.storage_options,
            only=self.only,
        )

    def _quarantined(self, items: list[Item], *records: FileRecord) -> DocumentBatch:
        documents = documents_schema(self.keep).empty_table()
        return DocumentBatch(documents, self.only(killed(items)), tuple(item.slice for item in items), records)


class _CannotPassError(Exception):
    """The next slice of a stream kills even where it is only counted."""


@dataclass(slots=True)
class _Steps:
    """Where the reading of a stream is; the slice at `start` is announced before its bytes are read."""

    part: UnitPart
    reader: CarefulReader
    start: int = 0
    strikes: int = 0
    killed: list[Item] = field(default_factory=list[Item])

    @property
    def item(self) -> Item:
        return Item(READ, self.part.file.uri, slice_of(self.part.file, self.start, self.reader.options).id, -1)

    def announce(self) -> None:
        self.strikes = self.reader.watch.announce(self.reader.unit, self.item)
        if self.strikes > MAX_STRIKES:
            raise _CannotPassError

    def is_done(self, identity: int) -> bool:
        """Whether the slice is only counted; the next one is then announced at once."""
        item = self.item
        finished = self.reader.is_done(identity)
        if identity != item.slice:  # the reader asks about the end of a damaged stream
            return finished
        if self.strikes >= MAX_STRIKES and not finished:
            self.killed.append(item)
        passed_over = finished or self.strikes >= MAX_STRIKES
        self.start += self.reader.options.slice_rows
        if passed_over:
            self.announce()
        return passed_over

    def record(self) -> FileRecord:
        slices = self.start // self.reader.options.slice_rows + 1
        return FileRecord(self.part.file.uri, self.part.file.version, slices, self.start)
