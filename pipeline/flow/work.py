"""What a run has to do: the table it is for, the files it reads, the units that are left.

Units are planned while they are read (`pipeline.flow.engines.feed`) and never held together: what is kept of a plan is
its files and, as one sorted array, its finished slices.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus import (
    FileRecord,
    ReaderOptions,
    SourceFile,
    Taper,
    WorkUnit,
    keep_schema,
    list_sources,
    plan,
    resolve_columns,
    slice_ids,
)
from pipeline.corpus.missing import missing_files
from pipeline.corpus.planner import MAX_BYTES
from pipeline.embedding.calibration import SAMPLE_SIZE
from pipeline.errors import SourceError, UsageError
from pipeline.flow.known_files import History
from pipeline.storage import is_local, lance_uri
from pipeline.table import Ledger, VectorTable
from pipeline.table.changes.duplicates import missing_originals
from pipeline.table.changes.retry import Retry, rejects_that_can_pass
from pipeline.table.companions.files import read_files
from pipeline.table.companions.runs import settled_version
from pipeline.table.location import COMPANIONS
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pipeline.table import TableLocation
    from pipeline.table.companions.files import FileRecord as AnyRecord

__all__ = [
    "CANDIDATES",
    "MAX_ROWS",
    "Plan",
    "PlanSize",
    "Work",
    "moved_work",
    "open_if_there",
    "plan_work",
    "slices_of",
]

MAX_ROWS: Final = 1024
"""Rows in a work unit: some seconds of a small model on a laptop's CPU, half a second of a large one on a GPU."""

PLENTY: Final = 64
"""About so many units make a plan, within these bounds: a large corpus of short texts pays little for a unit's way
through Ray."""

SHARES: Final = 3
"""For each replica, a unit holds at most one of so many shares of what is left, so that all are busy to the end. Longer
ones are worth having: texts of similar length are computed together, 2.5 % more tokens/s with 1,024 than with 256."""

LEAST_ROWS: Final = 256
"""With a large model on a CPU even these take minutes."""

LARGE_ROWS: Final = 4096
LARGE_BYTES: Final = 2 << 20
"""About the most bytes in a unit of more than `MAX_ROWS` rows: of long texts fewer rows are work enough."""

CANDIDATES: Final = 4 * SAMPLE_SIZE
"""Documents among which the calibration sample is drawn, in the order of the plan."""


@dataclass(frozen=True, slots=True)
class PlanSize:
    """A plan in figures, as far as they are known beforehand; `rows` None: streams tell theirs when they are read."""

    units: int
    slices: int
    rows: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Work units, planned anew, and alike, each time they are iterated over; travels to wherever that is done.

    `files` may have something left, `done` are finished slices. `limit`: rows after which to stop; None: all.
    `unit_rows`: most rows in a unit, and `taper`, how they get fewer toward the end: from `fitted`; None: `MAX_ROWS`.
    """

    files: tuple[SourceFile, ...]
    options: ReaderOptions
    done: np.ndarray
    limit: int | None = None
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    unit_rows: int | None = None
    taper: Taper | None = None

    def __iter__(self) -> Iterator[WorkUnit]:
        """Reads the metadata of a file when its turn comes.

        Raises:
            SourceError: a storage failed.
        """
        units = plan(
            self.files,
            self.options,
            done=self.done,
            max_rows=self.max_rows if self.limit is None else min(self.max_rows, self.limit),
            max_bytes=self.max_bytes,
            taper=self.taper,
            storage_options=self.storage_options,
        )
        return units if self.limit is None else _holding(units, self.limit)

    @property
    def max_rows(self) -> int:
        """Most rows in a unit."""
        return self.unit_rows or MAX_ROWS

    @property
    def max_bytes(self) -> int:
        """About the most bytes in a unit."""
        return MAX_BYTES if self.max_rows <= MAX_ROWS else LARGE_BYTES

    def fitted(self, rows: int, replicas: int = 1, *, quick: bool = True) -> Plan:
        """The plan with units fit for `rows` rows in all and so many replicas, each of which is `quick` or is not."""
        least = min(LEAST_ROWS, MAX_ROWS)
        most = min(max(rows // PLENTY, MAX_ROWS if quick else least), LARGE_ROWS)
        return replace(self, unit_rows=most, taper=Taper(rows, SHARES * replicas, least))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left to do."""
        return next(iter(self), None) is None

    def unlimited(self) -> Plan:
        """The plan without its limit."""
        return replace(self, limit=None)

    def size(self, seconds: float | None = None) -> PlanSize | None:
        """Count what is planned; None if that takes longer than `seconds`."""
        began = time.monotonic()
        units = slices = rows = 0
        streams = False
        for unit in self:
            units, slices, rows = units + 1, slices + len(unit.slices), rows + unit.rows
            streams = streams or any(part.slices is None for part in unit.parts)
            if seconds is not None and time.monotonic() - began > seconds:
                return None
        return PlanSize(units, slices, None if streams else rows)


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to do, and what was found already done.

    `changed`: files that the table knows in another version than the one that is there now; their rows are exchanged.
    `reverted`: files that are finished, but of which the journal holds another version. `gone`: files to be pruned.
    `retry`: rejected documents that are tried again, None: none.
    """

    options: ReaderOptions
    keep: pa.Schema
    files: tuple[SourceFile, ...]
    units: Plan
    finished_files: int
    changed: tuple[SourceFile, ...]
    reverted: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    retry: Retry | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to embed, exchange or prune."""
        return self.units.is_empty and not self.gone

    @property
    def new_versions(self) -> dict[str, str]:
        """The changed files: URI → the version that is there now."""
        return {file.uri: file.version for file in self.changed}

    def to_json(self) -> dict[str, Any]:
        """The plan in figures; counts it, in memory that does not grow with it."""
        size = self.units.size()
        assert size is not None
        return {
            "files": len(self.files),
            "bytes": sum(file.size for file in self.files),
            "finished_files": self.finished_files,
            "changed_files": [file.uri for file in self.changed],
            "gone_files": list(self.gone),
            "units": size.units,
            "slices": size.slices,
            "rows": size.rows,
            "text": self.options.text,
            "id": self.options.id,
            "keep": list(self.options.keep),
        }


def open_if_there(location: TableLocation) -> VectorTable | None:
    """The table, or None where there is none yet."""
    return None if open_dataset(location) is None else VectorTable.open(location)


def plan_work(
    sources: Sequence[str],
    location: TableLocation,
    table: VectorTable | None,
    options: ReaderOptions,
    *,
    limit: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    retry_rejects: bool = False,
    prune: bool = False,
) -> Work:
    """List the sources, settle which columns are read, and leave out what the table has.

    Raises:
        SourceError: a source cannot be listed, a column is not there, or there is nothing to read.
        UsageError: reader options other than the ones fixed in the table.
    """
    files = list_sources(sources, storage_options=storage_options, skip=_owned_by(location))
    if not files:
        raise SourceError(f"nothing to read in {', '.join(sources)}: it holds only the table {location} itself")
    if table is None:
        settled = resolve_columns(files, options, storage_options=storage_options)
        keep = keep_schema(files, settled, storage_options=storage_options)
        ledger, history = Ledger(), History()
    else:
        settled = _fixed_options(table, options)
        keep = pa.schema([table.schema.field(name) for name in settled.keep])
        ledger, history = Ledger.load(location), History.load(location)
    complete = {file for file in files if (file.uri, file.version) in ledger.complete_files}
    retry = None if table is None else Retry.of(_tried_again_rejects(location, asked=retry_rejects), ledger)
    done = ledger.done if retry is None else np.setdiff1d(ledger.done, retry.slices)
    again = _tried_again(location, retry, settled)
    left = tuple(file for file in files if file not in complete or (file.uri, file.version) in again)
    changed = tuple(file for file in left if history.knows_other(file))
    listed = [file.uri for file in files]
    return Work(
        options=settled,
        keep=keep,
        files=tuple(files),
        units=Plan(left, settled, np.union1d(done, history.staged(changed)), limit, storage_options),
        finished_files=len(complete),
        changed=changed,
        reverted=tuple(sorted({file.uri for file in complete} & history.journaled)),
        gone=tuple(missing_files(history.versions, listed, sources, storage_options)) if prune else (),
        retry=retry,
    )


def moved_work(work: Work, location: TableLocation, missing: pa.Table) -> Work | None:
    """What of `work`, which is done, is taken up again because originals are `missing` (REJECTS); None: nothing."""
    ledger = Ledger.load(location)
    retry = Retry.of(missing, ledger)
    if retry is None:
        return None
    again = _tried_again(location, retry, work.options)
    files = tuple(file for file in work.files if (file.uri, file.version) in again)
    done = np.setdiff1d(ledger.done, retry.slices)
    units = Plan(files, work.options, done, storage_options=work.units.storage_options)
    return None if units.is_empty else replace(work, units=units, changed=(), reverted=(), retry=retry)


def _tried_again_rejects(location: TableLocation, *, asked: bool) -> pa.Table:
    """The rejects that a run tries again: all that can pass if it is `asked` to, else what has lost its original."""
    return rejects_that_can_pass(location) if asked else missing_originals(location, settled_version(location))


def _tried_again(location: TableLocation, retry: Retry | None, options: ReaderOptions) -> set[tuple[str, str]]:
    """(uri, version) of the finished files that have slices to be read again; those of other versions cannot be."""
    if retry is None:
        return set()
    files = read_files(
        location, pc.field("complete") & pc.field("uri").isin(pa.array(list(retry.sources), pa.string()))
    )
    records = [FileRecord(row["uri"], row["version"], row["slices"], 0) for row in files.to_pylist()]
    slices = [slices_of(record, options) for record in records]
    owners = np.repeat(np.arange(len(records)), [len(numbers) for numbers in slices])
    found = owners[np.isin(np.concatenate([np.empty(0, np.int64), *slices]), retry.slices)]
    return {(records[at].uri, records[at].version) for at in np.unique(found)}


def slices_of(record: AnyRecord, options: ReaderOptions) -> np.ndarray:
    """The ids of all slices of a file that was read to its end, int64."""
    starts = np.arange(0, record.slices * options.slice_rows, options.slice_rows)
    return slice_ids(record.uri, record.version, starts, options)


def _owned_by(location: TableLocation) -> Callable[[str], bool]:
    """Whether a Lance directory, by its URI, is the table that is being written, or one of its companions.

    By their names, since ``docs.de`` beside ``docs`` may be anybody's; on this machine by whatever path.
    """
    own = {_place(each.uri) for each in (location, *map(location.sibling, COMPANIONS))}
    return lambda uri: _place(uri) in own


def _place(uri: str) -> str:
    place = lance_uri(uri)
    return os.path.realpath(place) if is_local(place) else place


def _fixed_options(table: VectorTable, asked: ReaderOptions) -> ReaderOptions:
    fixed = ReaderOptions(
        text=table.reader.get("text"),
        id=table.reader.get("id"),
        keep=tuple(table.reader.get("keep", ())),
        slice_rows=int(table.reader.get("slice_rows", asked.slice_rows)),
    )
    for name in ("text", "id"):
        wanted, has = getattr(asked, name), getattr(fixed, name)
        if wanted is not None and wanted != has:
            raise UsageError(f"--{name} {wanted}: {table.location} was made with {name} column {has!r}, which is fixed")
    if asked.keep and asked.keep != fixed.keep:
        names = ", ".join(fixed.keep) or "no metadata columns"
        raise UsageError(f"--keep {' '.join(asked.keep)}: {table.location} was made with {names}; that is fixed")
    return fixed


def _holding(units: Iterable[WorkUnit], rows: int) -> Iterator[WorkUnit]:
    """The first units that together hold `rows` rows; streams count as none, since nobody knows."""
    held = 0
    for unit in units:
        yield unit
        held += unit.rows
        if held >= rows:
            return
