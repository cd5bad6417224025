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
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from pipeline.corpus.ahead import ahead
from pipeline.corpus.readers import Extent, ReaderOptions, UnreadableError, extents, inflated_size
from pipeline.corpus.sources import SourceFile
from pipeline.corpus.storage import is_local

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MAX_BYTES",
    "MAX_ROWS",
    "Count",
    "Done",
    "FileRecord",
    "Slice",
    "Taper",
    "UnitPart",
    "WorkUnit",
    "finished",
    "plan",
    "slice_id",
    "slice_ids",
    "slice_of",
]

MAX_ROWS: Final = 2048
MAX_BYTES: Final = 16 << 20

Done = Collection[int] | np.ndarray | None
"""Ids of finished slices: a set, or an int64 array, best a sorted one."""

Count = Callable[[SourceFile], tuple[Extent, ...] | None]
"""How a file's rows are stored; None where only reading it tells."""

_LARGE_GROUP: Final = 16 << 20
_MAX_PASSES: Final = 16


def slice_id(uri: str, version: str, start: int, stop: int, options: ReaderOptions) -> int:
    """64 bits, signed, over file, version, range and resolved reader options."""
    key = f"{_file_key(uri, version, options)}|{start}|{stop}"
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)


def slice_ids(uri: str, version: str, starts: np.ndarray, options: ReaderOptions) -> np.ndarray:
    """`slice_id` of the slices that begin at the rows `starts`, int64 [n]."""
    begun = blake2b(_file_key(uri, version, options).encode(), digest_size=8)
    digests: list[bytes] = []
    for start in starts.tolist():
        digest = begun.copy()
        digest.update(b"|%d|%d" % (start, start + options.slice_rows))
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), ">i8").astype(np.int64)


def _file_key(uri: str, version: str, options: ReaderOptions) -> str:
    reader = [options.text, options.id, list(options.keep), options.slice_rows]
    return json.dumps([uri, version, reader], separators=(",", ":"))


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

    `rows` is the number of rows of the whole file where it is known. `last`: nothing of the file is planned after this
    part, so that its record travels with it; such a part may have no slice left.
    """

    file: SourceFile
    slices: tuple[Slice, ...] | None
    rows: int | None = None
    last: bool = False

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
    return UnitPart(SourceFile(**fields["file"]), given, fields["rows"], fields["last"])


@dataclass(frozen=True, slots=True)
class Taper:
    """Units get smaller toward the end of a plan of `rows` rows, so that those who work side by side end together.

    None holds more than one in `shares` of what is left, unless that is fewer than `least` rows, it is a single slice,
    or it is part of a large row group.
    """

    rows: int
    shares: int
    least: int

    def most(self, taken: int) -> int:
        """Rows that a unit may hold when `taken` rows are in units before it."""
        return max((self.rows - taken) // self.shares, self.least)


def finished(done: Done) -> Callable[[int], bool]:
    """A test for one slice id."""
    if done is None:
        return lambda _: False
    if not isinstance(done, np.ndarray):
        return done.__contains__
    ids = _sorted(done)
    return lambda slice_: bool((at := ids.searchsorted(slice_)) < len(ids) and ids[at] == slice_)


def _sorted(ids: np.ndarray) -> np.ndarray:
    return ids if bool((ids[1:] >= ids[:-1]).all()) else np.sort(ids)


def plan(
    files: Iterable[SourceFile],
    options: ReaderOptions,
    *,
    done: Done = None,
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
    taper: Taper | None = None,
    storage_options: Mapping[str, Any] | None = None,
    count: Count | None = None,
) -> Iterator[WorkUnit]:
    """Everything that is not finished, as work units in the order of files and rows.

    A unit holds at most `max_rows` rows and about `max_bytes` bytes, unless it is one slice or one stream that is
    larger. A Parquet row group beyond 16 MiB gets larger units, a sixteenth of it each: every unit decodes its row
    group from the beginning. A damaged file is planned as a stream: its reader finds out and rejects it.

    Args:
        files: in any order.
        options: resolved reader options.
        done: ids of finished slices; streams that hold some are planned all the same, their reader skips. A file of
            which nothing but its record is missing is planned without slices.
        max_rows: see above.
        max_bytes: see above.
        taper: how units get smaller toward the end; None: they do not.
        storage_options: for remote files.
        count: instead of `readers.extents`. Called lazily, in the order of the files; for some files ahead, and in
            threads, where some are remote.

    Raises:
        SourceError: from `count`, when a storage fails.
    """
    counted = count or (lambda file: extents(file, options, storage_options=storage_options))
    ids = _sorted(done if isinstance(done, np.ndarray) else np.fromiter(done or (), np.int64))
    bundle = _Bundle((max_rows, max_bytes), taper)
    for file, known in _counts(sorted(set(files), key=lambda each: each.uri), counted):
        for item in _items(file, known, options, ids, (max_rows, max_bytes)):
            if bundle.items and not bundle.fits(item):
                yield bundle.take()
            bundle.add(item)
    if bundle.items:
        yield bundle.take()


@dataclass(frozen=True, slots=True)
class _Item:
    """One slice or one stream, or with neither a file's `last` word; `bounds`: rows and bytes of the unit it is for."""

    file: SourceFile
    slice: Slice | None
    file_rows: int | None
    rows: int
    bytes: int
    bounds: tuple[int, int]
    last: bool = False


@dataclass(slots=True)
class _Bundle:
    usual: tuple[int, int]
    taper: Taper | None
    items: list[_Item] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    taken: int = 0

    def fits(self, item: _Item) -> bool:
        if item.last and item.file is self.items[-1].file:
            return True
        rows, size = item.bounds
        if self.taper is not None and item.bounds == self.usual:
            rows = min(rows, self.taper.most(self.taken))
        same_bounds = item.bounds == self.items[0].bounds
        return same_bounds and self.rows + item.rows <= rows and self.bytes + item.bytes <= size

    def add(self, item: _Item) -> None:
        self.items.append(item)
        self.rows += item.rows
        self.bytes += item.bytes

    def take(self) -> WorkUnit:
        parts = [_part_of(list(items)) for _, items in groupby(self.items, key=lambda each: each.file)]
        self.taken += self.rows
        self.items, self.rows, self.bytes = [], 0, 0
        return WorkUnit(tuple(parts))


def _part_of(items: list[_Item]) -> UnitPart:
    first = items[0]
    if first.file_rows is None:
        return UnitPart(first.file, None)
    slices = tuple(each.slice for each in items if each.slice is not None)
    return UnitPart(first.file, slices, first.file_rows, items[-1].last)


def _counts(files: Sequence[SourceFile], count: Count) -> Iterator[tuple[SourceFile, tuple[Extent, ...] | None]]:
    """Each file with how its rows are stored; a damaged one as a stream."""

    def known(file: SourceFile) -> tuple[Extent, ...] | None:
        try:
            return count(file)
        except UnreadableError:
            return None

    if all(is_local(file.uri) for file in files):
        return ((file, known(file)) for file in files)
    return ahead(known, files)


def _items(
    file: SourceFile,
    known: tuple[Extent, ...] | None,
    options: ReaderOptions,
    done: np.ndarray,
    bounds: tuple[int, int],
) -> Iterator[_Item]:
    """What is left of a file, whose rows are stored as `known`: its slices and its last word, or the stream it is."""
    if known is None:
        yield _Item(file, None, None, 1, inflated_size(file), bounds)
        return
    layout = _Layout.of(known)
    starts = np.arange(0, layout.rows, options.slice_rows)
    ids = slice_ids(file.uri, file.version, starts, options)
    left = np.flatnonzero(~_among(ids, done))
    stops = np.minimum(starts[left] + options.slice_rows, layout.rows)
    sizes = layout.bytes_between(starts[left], stops)
    extents_ = layout.extents_at(starts[left])
    for number, start, stop, size, extent in zip(ids[left], starts[left], stops, sizes, extents_, strict=True):
        slice_ = Slice(int(number), int(start), int(stop))
        yield _Item(file, slice_, layout.rows, slice_.stop - slice_.start, int(size), _bounds(known[extent], bounds))
    yield _Item(file, None, layout.rows, 0, 0, bounds, last=True)


def _among(ids: np.ndarray, sorted_ids: np.ndarray) -> np.ndarray:
    """For each of `ids` whether it is one of `sorted_ids`, bool [n]."""
    if not len(sorted_ids):
        return np.zeros(len(ids), bool)
    at = np.minimum(np.searchsorted(sorted_ids, ids), len(sorted_ids) - 1)
    return sorted_ids[at] == ids


def _bounds(extent: Extent, usual: tuple[int, int]) -> tuple[int, int]:
    rows, size = usual
    if not extent.sequential or extent.bytes <= _LARGE_GROUP:
        return usual
    return max(rows, -(-extent.rows // _MAX_PASSES)), max(size, -(-extent.bytes // _MAX_PASSES))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a file's extents end: rows int64 [n + 1], bytes float64 [n + 1], both from 0."""

    row_ends: np.ndarray
    byte_ends: np.ndarray

    @classmethod
    def of(cls, known: tuple[Extent, ...]) -> _Layout:
        rows = np.fromiter((extent.rows for extent in known), np.int64)
        sizes = np.fromiter((extent.bytes if extent.rows else 0 for extent in known), np.float64)
        return cls(np.concatenate([[0], rows.cumsum()]), np.concatenate([[0.0], sizes.cumsum()]))

    @property
    def rows(self) -> int:
        return int(self.row_ends[-1])

    def bytes_between(self, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
        """Estimated bytes of each range of rows."""
        return self._bytes_before(stops) - self._bytes_before(starts)

    def extents_at(self, rows: np.ndarray) -> np.ndarray:
        """The number of the extent that holds each row."""
        return np.searchsorted(self.row_ends, rows, side="right") - 1

    def _bytes_before(self, rows: np.ndarray) -> np.ndarray:
        return np.interp(rows, self.row_ends, self.byte_ends)
