"""Slices, the ledger's unit, and work units, what is scheduled: which rows are read together.

Slice k of a file is its rows k·S to (k+1)·S, S = `ReaderOptions.slice_rows`; its id hashes file, version, range and
reader options, so that it always means the same rows. A work unit bundles slices, of one or of many files, within a
bound on rows and on bytes (`pipeline.corpus.planner`). It is not stored anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from pipeline.corpus.source_file import SourceFile

if TYPE_CHECKING:
    from pipeline.corpus.readers import ReaderOptions

__all__ = [
    "Done",
    "FileRecord",
    "Slice",
    "UnitPart",
    "WorkUnit",
    "finished",
    "slice_id",
    "slice_ids",
    "slice_of",
    "sorted_ids",
]

Done = Collection[int] | np.ndarray | None
"""Ids of finished slices: a set, or an int64 array, best a sorted one."""


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


def finished(done: Done) -> Callable[[int], bool]:
    """A test for one slice id."""
    if done is None:
        return lambda _: False
    if not isinstance(done, np.ndarray):
        return done.__contains__
    ids = sorted_ids(done)
    return lambda slice_: bool((at := ids.searchsorted(slice_)) < len(ids) and ids[at] == slice_)


def sorted_ids(ids: np.ndarray) -> np.ndarray:
    """`ids` in ascending order; what is in order already is not copied."""
    return ids if bool((ids[1:] >= ids[:-1]).all()) else np.sort(ids)
