"""Items, and how a worker goes through them one by one after its process has died.

An item is a document or a slice at a stage. A worker tells the tracker of each item before it touches it (`Watch`);
what the tracker has quarantined becomes a reject. The rules by which it does: `pipeline.flow.poison.tracker`.

A unit is read slice by slice. A slice that kills twice is passed over and rejected as a whole. A stream must be counted
through where it is not parsed; where even that kills (a broken compressed block, say), it ends there, as a damaged one
does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from pipeline.corpus import DocumentBatch, FileRecord, WorkUnit, read_slices
from pipeline.corpus.document_checks import documents_schema
from pipeline.corpus.reading import every_row
from pipeline.corpus.slices import slice_of
from pipeline.rejects import KILLER, REJECTS, slice_rejects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pipeline.corpus import ReaderOptions, UnitPart
    from pipeline.corpus.reading import Only

__all__ = [
    "BUILD",
    "CALIBRATION",
    "MAX_STRIKES",
    "READ",
    "CarefulReader",
    "Item",
    "Watch",
    "carefully",
    "items_of",
    "killed",
    "one_by_one",
    "reject_of",
]

T = TypeVar("T")

READ: Final = "read"
BUILD: Final = "build"
CALIBRATION: Final = "calibration"
"""Stages of the tracker that are none of a document."""

MAX_STRIKES: Final = 2
"""Deaths alone in flight after which an item is quarantined."""


class Item(NamedTuple):
    """A document, or with `row` -1 a slice, at a stage (read, embed, commit)."""

    stage: str
    source: str
    slice: int
    row: int
    id: str | None = None


class Watch(Protocol):
    """What a worker tells the tracker. All calls return only when the tracker knows."""

    @property
    def process(self) -> str:
        """The name of the process that tells: the same before and after it died."""
        ...

    def begin(self, unit: str, stage: str, slices: Sequence[int] = (), sources: Sequence[str] = ()) -> bool:
        """A unit, of these slices or of whole `sources`, is taken up; whether it must be taken item by item."""
        ...

    def announce(self, unit: str, item: Item) -> int:
        """`item`, and nothing else, is about to be worked on: how often it died of that; -1: it got through before."""
        ...

    def announce_many(self, unit: str) -> None:
        """From here on several items are worked on at once."""
        ...

    def end(self, unit: str) -> None:
        """The unit's outcome is complete."""
        ...


def one_by_one(
    watch: Watch, unit: str, items: Mapping[Item, Sequence[int]], work: Callable[[Sequence[int]], T]
) -> tuple[list[tuple[Sequence[int], T]], list[Item]]:
    """Work item by item.

    Args:
        watch: told of each item before it is touched.
        unit: to which they belong; it has begun.
        items: each with its rows, as from `items_of`.
        work: does it, for some rows.

    Returns:
        Pairs of rows and what `work` made of them, and the quarantined items. What got through in an earlier
        attempt comes last, together.
    """
    made: list[tuple[Sequence[int], T]] = []
    quarantined: list[Item] = []
    known: list[int] = []
    for item, rows in items.items():
        strikes = watch.announce(unit, item)
        if strikes >= MAX_STRIKES:
            quarantined.append(item)
        elif strikes < 0:
            known += rows
        else:
            made.append((rows, work(rows)))
    watch.announce_many(unit)
    if known:
        made.append((known, work(known)))
    return made, quarantined


def carefully(
    watch: Watch, unit: str, documents: pa.Table, stage: str, work: Callable[[Sequence[int]], tuple[pa.Table, ...]]
) -> tuple[list[pa.Table], pa.Table]:
    """`one_by_one` where `work` makes tables of some rows of `documents`: these, joined, and the rejects (REJECTS)."""
    made, quarantined = one_by_one(watch, unit, items_of(documents, stage), work)
    parts = zip(work([]), *(tables for _, tables in made), strict=True)
    return [pa.concat_tables(part) for part in parts], killed(quarantined)


def items_of(documents: pa.Table, stage: str) -> dict[Item, list[int]]:
    """The documents (id, source, slice, row) as items, each with its rows: chunks of a document stay together."""
    columns = [documents.column(name).to_pylist() for name in ("source", "slice", "row", "id")]
    found: dict[Item, list[int]] = {}
    firsts: dict[tuple[int, int], Item] = {}
    for at, (source, slice_, row, identifier) in enumerate(zip(*columns, strict=True)):
        item = firsts.setdefault((slice_, row), Item(stage, source, slice_, row, identifier))
        found.setdefault(item, []).append(at)
    return found


def killed(items: Iterable[Item]) -> pa.Table:
    """The rejects (REJECTS) of quarantined items."""
    return pa.concat_tables([REJECTS.empty_table(), *(reject_of(item, KILLER) for item in items)])


def reject_of(item: Item, reason: str) -> pa.Table:
    """One reject."""
    what = "document" if item.row >= 0 else "part of the file"
    detail = f"the process died while it had this {what} alone at stage {item.stage}"
    return slice_rejects([(item.row, item.id, reason, detail)], item.source, item.slice, item.stage)


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
