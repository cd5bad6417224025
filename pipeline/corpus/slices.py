"""Slices, the ledger's unit, and work units, what is scheduled: which rows are read together, and what is still to do.

Slice k of a file is its rows k·S to (k+1)·S, S = `ReaderOptions.slice_rows`; its id hashes file, version, range and
reader options, so that it means the same rows for ever. A work unit bundles slices, of one or of many files, within a
bound on rows and on bytes. It is not stored anywhere.

    file a (Parquet)   [slice 0][slice 1][slice 2]      unit 0: a 0, a 1
    b.txt, c.txt       [slice 0] [slice 0]              unit 1: a 2, b 0, c 0
    d.jsonl.gz         [?.......................        unit 2: d, to its end: a stream cannot be split

Files, their row counts, options and finished slices decide the plan, in whatever order the files are given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from pipeline.corpus.readers import Extent, ReaderOptions, UnreadableError, extents, inflated_size
from pipeline.corpus.sources import SourceFile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

__all__ = [
    "MAX_BYTES",
    "MAX_ROWS",
    "Count",
    "Done",
    "FileRecord",
    "Slice",
    "UnitPart",
    "WorkUnit",
    "finished",
    "plan",
    "slice_id",
    "slice_of",
]

MAX_ROWS: Final = 2048
MAX_BYTES: Final = 16 << 20

Done = Collection[int] | np.ndarray | None
"""Ids of finished slices: a set, or an int64 array, best a sorted one."""

Count = Callable[[SourceFile], tuple[Extent, ...] | None]
"""How a file's rows are stored; None where only reading it tells."""

_LARGE_GROUP: Final = 128 << 20
_MAX_PASSES: Final = 16


def slice_id(uri: str, version: str, start: int, stop: int, options: ReaderOptions) -> int:
    """64 bits, signed, over file, version, range and resolved reader options."""
    reader = [options.text, options.id, list(options.keep), options.slice_rows]
    return _hash(f"{_file_key(uri, version, reader)}|{start}|{stop}")


def _file_key(uri: str, version: str, reader: list[Any]) -> str:
    return json.dumps([uri, version, reader], separators=(",", ":"))


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows ``start`` to ``stop`` of a file; `stop` is cut at the file's end where that is known."""

    id: int
    start: int
    stop: int


def slice_of(file: SourceFile, start: int, options: ReaderOptions, rows: int | None = None) -> Slice:
    """The slice that begins at row `start`, in a file of `rows` rows."""
    stop = start + options.slice_rows
    identity = slice_id(file.uri, file.version, start, stop, options)
    return Slice(identity, start, stop if rows is None else min(stop, rows))


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that was read to its end: so many slices, so many rows, the rejected ones among them."""

    uri: str
    version: str
    slices: int
    rows: int


@dataclass(frozen=True, slots=True)
class UnitPart:
    """The slices of one file in a unit; None for a stream, which is read whole.

    `rows` is the number of rows of the whole file where it is known.
    """

    file: SourceFile
    slices: tuple[Slice, ...] | None
    rows: int | None = None

    def record(self, options: ReaderOptions) -> FileRecord | None:
        """What the file's record will be when all its slices are finished; None for a stream."""
        if self.rows is None:
            return None
        return FileRecord(self.file.uri, self.file.version, -(-self.rows // options.slice_rows), self.rows)


@dataclass(frozen=True, slots=True)
class WorkUnit:
    """What one reader reads at a time."""

    parts: tuple[UnitPart, ...]

    @property
    def rows(self) -> int:
        """Rows in the unit, as far as they are known beforehand."""
        return sum(each.stop - each.start for part in self.parts for each in part.slices or ())

    @property
    def slices(self) -> tuple[int, ...]:
        """Ids of the slices that are known beforehand."""
        return tuple(each.id for part in self.parts for each in part.slices or ())

    def to_json(self) -> str:
        """One line of JSON, which `from_json` reads."""
        return json.dumps([asdict(part) for part in self.parts], separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The unit that `to_json` wrote."""
        return cls(tuple(_part(each) for each in json.loads(line)))


def _part(fields: dict[str, Any]) -> UnitPart:
    slices = fields["slices"]
    given = None if slices is None else tuple(Slice(**each) for each in slices)
    return UnitPart(SourceFile(**fields["file"]), given, fields["rows"])


def finished(done: Done) -> Callable[[int], bool]:
    """A test for one slice id."""
    if done is None:
        return lambda _: False
    if not isinstance(done, np.ndarray):
        return done.__contains__
    ids = done if bool((done[1:] >= done[:-1]).all()) else np.sort(done)
    return lambda slice_: bool((at := ids.searchsorted(slice_)) < len(ids) and ids[at] == slice_)


def plan(
    files: Iterable[SourceFile],
    options: ReaderOptions,
    *,
    done: Done = None,
    complete_files: AbstractSet[tuple[str, str]] = frozenset(),
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    storage_options: Mapping[str, Any] | None = None,
    count: Count | None = None,
) -> Iterator[WorkUnit]:
    """Everything that is not finished, as work units in the order of files and rows.

    A unit holds at most `max_rows` rows and about `max_bytes` bytes, unless it is one slice or one stream that is
    larger. A Parquet row group beyond 128 MiB gets larger units, a sixteenth of it each: every unit decodes its row
    group from the beginning. A damaged file is planned as a stream: its reader finds out and rejects it.

    Args:
        files: in any order.
        options: resolved reader options.
        done: ids of finished slices; streams that hold some are planned all the same, their reader skips.
        complete_files: (uri, version) of files of which nothing is left to do; they are not even counted.
        max_rows: see above.
        max_bytes: see above.
        storage_options: for remote files.
        count: instead of `readers.extents`. Called lazily, in the order of the files.

    Raises:
        SourceError: from `count`, when a storage fails.
    """
    counted = count or (lambda file: extents(file, options, storage_options=storage_options))
    is_done = finished(done)
    bundle = _Bundle()
    for file in sorted(set(files), key=lambda each: each.uri):
        if (file.uri, file.version) in complete_files:
            continue
        for item in _items(file, options, counted, is_done, max_rows, max_bytes):
            if bundle.items and not bundle.fits(item):
                yield bundle.take()
            bundle.add(item)
    if bundle.items:
        yield bundle.take()


@dataclass(frozen=True, slots=True)
class _Item:
    """One slice or one stream; `bounds`: the rows and bytes of the unit that it goes into."""

    file: SourceFile
    slice: Slice | None
    file_rows: int | None
    rows: int
    bytes: int
    bounds: tuple[int, int]


@dataclass(slots=True)
class _Bundle:
    items: list[_Item] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def fits(self, item: _Item) -> bool:
        rows, size = item.bounds
        same_bounds = item.bounds == self.items[0].bounds
        return same_bounds and self.rows + item.rows <= rows and self.bytes + item.bytes <= size

    def add(self, item: _Item) -> None:
        self.items.append(item)
        self.rows += item.rows
        self.bytes += item.bytes

    def take(self) -> WorkUnit:
        parts = tuple(
            UnitPart(file, tuple(each.slice for each in items if each.slice is not None) if known else None, rows)
            for (file, rows, known), items in groupby(
                self.items, key=lambda each: (each.file, each.file_rows, each.slice is not None)
            )
        )
        self.items, self.rows, self.bytes = [], 0, 0
        return WorkUnit(parts)


def _items(
    file: SourceFile,
    options: ReaderOptions,
    count: Count,
    is_done: Callable[[int], bool],
    max_rows: int,
    max_bytes: int,
) -> Iterator[_Item]:
    try:
        known = count(file)
    except UnreadableError:
        known = None
    if known is None:
        yield _Item(file, None, None, 1, inflated_size(file), (max_rows, max_bytes))
        return
    rows = sum(extent.rows for extent in known)
    key = _file_key(file.uri, file.version, [options.text, options.id, list(options.keep), options.slice_rows])
    for start, size, extent in _slice_starts(known, options.slice_rows):
        nominal = start + options.slice_rows
        slice_ = Slice(_hash(f"{key}|{start}|{nominal}"), start, min(nominal, rows))
        if not is_done(slice_.id):
            bounds = _bounds(extent, max_rows, max_bytes)
            yield _Item(file, slice_, rows, slice_.stop - start, size, bounds)


def _bounds(extent: Extent, max_rows: int, max_bytes: int) -> tuple[int, int]:
    if not extent.sequential or extent.bytes <= _LARGE_GROUP:
        return max_rows, max_bytes
    return max(max_rows, -(-extent.rows // _MAX_PASSES)), max(max_bytes, -(-extent.bytes // _MAX_PASSES))


def _slice_starts(known: tuple[Extent, ...], slice_rows: int) -> Iterator[tuple[int, int, Extent]]:
    """Each slice's first row, its bytes (estimated), and the extent that holds its first row."""
    filled = [extent for extent in known if extent.rows]
    index, extent_start = 0, 0
    for start in range(0, sum(extent.rows for extent in filled), slice_rows):
        while start >= extent_start + filled[index].rows:
            extent_start += filled[index].rows
            index += 1
        yield start, _bytes_between(filled, index, extent_start, start, start + slice_rows), filled[index]


def _bytes_between(filled: list[Extent], index: int, extent_start: int, start: int, stop: int) -> int:
    size = 0.0
    while index < len(filled) and extent_start < stop:
        extent = filled[index]
        extent_stop = extent_start + extent.rows
        size += extent.bytes * (min(stop, extent_stop) - max(start, extent_start)) / extent.rows
        extent_start, index = extent_stop, index + 1
    return int(size)
