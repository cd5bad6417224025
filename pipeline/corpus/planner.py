"""The planner: what is left of some files, as work units of bounded rows and bytes.

    file a (Parquet)   [slice 0][slice 1][slice 2]      unit 0: a 0, a 1
    b.txt, c.txt       [slice 0] [slice 0]              unit 1: a 2, b 0, c 0
    d.jsonl.gz         [?.......................        unit 2: d, to its end: a stream cannot be split

Files, their row counts, options and finished slices decide the plan, in whatever order the files are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.corpus.readers import Extent, ReaderOptions, UnreadableError, extents, inflated_size
from pipeline.corpus.slices import Done, Slice, UnitPart, WorkUnit, slice_ids, sorted_ids
from pipeline.corpus.source_file import SourceFile
from pipeline.prefetch import map_ahead
from pipeline.storage import is_local

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_BYTES", "MAX_ROWS", "Count", "Taper", "plan"]

MAX_ROWS: Final = 2048
MAX_BYTES: Final = 16 << 20

Count = Callable[[SourceFile], tuple[Extent, ...] | None]
"""How a file's rows are stored; None where only reading it tells."""

_LARGE_GROUP: Final = 16 << 20
_MAX_PASSES: Final = 16


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
    ids = sorted_ids(done if isinstance(done, np.ndarray) else np.fromiter(done or (), np.int64))
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
    return map_ahead(known, files)


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


def _among(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """For each of `ids` whether it is one of `known`, which is sorted, bool [n]."""
    if not len(known):
        return np.zeros(len(ids), bool)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return known[at] == ids


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
