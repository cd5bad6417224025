"""What a run has to do: which files it reads, what the table has of them already, which units are left."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.corpus import (
    AskedDialect,
    FileRecord,
    ReaderOptions,
    SourceFile,
    keep_schema,
    resolve_columns,
    slice_ids,
)
from pipeline.corpus.dialect import UNSAID
from pipeline.corpus.dialects import settle_dialects, unusual_dialects
from pipeline.corpus.missing import missing_files
from pipeline.corpus.passed_over import by_reason
from pipeline.corpus.sources import look_through
from pipeline.errors import SourceError, UsageError
from pipeline.flow.known_files import History, unreadable_and_written_since
from pipeline.flow.own_tables import embeddings, owned_by
from pipeline.flow.plan import Plan
from pipeline.table import Ledger, VectorTable
from pipeline.table.changes.retry import Retry, missing_originals, rejects_that_can_pass
from pipeline.table.companions.files import read_files
from pipeline.table.companions.runs import settled_version
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.corpus.sources import Listing
    from pipeline.table import TableLocation

__all__ = ["Work", "moved_work", "open_if_there", "plan_gone", "plan_work", "slices_of"]


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to do, and what was found already done."""

    options: ReaderOptions
    keep: pa.Schema
    """The metadata columns that the table keeps."""
    files: tuple[SourceFile, ...]
    """All that the sources hold."""
    units: Plan
    finished_files: int
    changed: tuple[SourceFile, ...]
    """Files that the table knows in another version than the one that is there now; their rows are exchanged."""
    reverted: tuple[str, ...] = ()
    """Files that are finished, but of which the journal holds another version."""
    gone: tuple[str, ...] = ()
    """Files to be pruned."""
    retry: Retry | None = None
    """Rejected documents that are tried again; None: none."""
    passed_over: Mapping[str, int] = field(default_factory=dict[str, int])
    """What the sources hold besides: why it is not read → how many (`pipeline.corpus.passed_over`)."""

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
            "dialects": unusual_dialects(self.files),
            "units": size.units,
            "slices": size.slices,
            "rows": size.rows,
            "text": self.options.text,
            "id": self.options.id,
            "keep": list(self.options.keep),
            "passed_over": dict(self.passed_over),
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
    dialect: AskedDialect = UNSAID,
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
    history = History() if table is None else History.load(location)
    listing = _listing(sources, location, storage_options)
    files = settle_dialects(list(listing.files), dialect, history.begun, storage_options=storage_options)
    if not files:
        raise SourceError(f"nothing to read in {', '.join(sources)}: it holds only the table {location} itself")
    if table is None:
        settled = resolve_columns(files, options, storage_options=storage_options)
        keep = keep_schema(files, settled, storage_options=storage_options)
        ledger = Ledger()
    else:
        settled = _fixed_options(table, options)
        keep = pa.schema([table.schema.field(name) for name in settled.keep])
        ledger = Ledger.load(location, [file.uri for file in files if not history.knows(file)])
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
        passed_over=by_reason(listing.passed_over),
    )


def _listing(sources: Sequence[str], location: TableLocation, storage_options: Mapping[str, Any] | None) -> Listing:
    return look_through(
        sources, storage_options=storage_options, skip=owned_by(location), is_table=embeddings(storage_options)
    )


def plan_gone(
    sources: Sequence[str], location: TableLocation, storage_options: Mapping[str, Any] | None = None
) -> tuple[str, ...]:
    """The files below `sources` that a table knows and that are no longer there.

    Raises:
        SourceError: a source cannot be listed, so that nobody can say.
    """
    listed = [file.uri for file in _listing(sources, location, storage_options).files]
    return tuple(missing_files(History.load(location).versions, listed, sources, storage_options))


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
    """The rejects that a run tries again: all that can pass if it is `asked` to.

    Else what has lost its original, and what is in files that could not be read and were written again.
    """
    if asked:
        return rejects_that_can_pass(location)
    return pa.concat_tables(
        [missing_originals(location, settled_version(location)), unreadable_and_written_since(location)]
    )


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


def slices_of(record: FileRecord, options: ReaderOptions) -> np.ndarray:
    """The ids of all slices of a file that was read to its end, int64."""
    starts = np.arange(0, record.slices * options.slice_rows, options.slice_rows)
    return slice_ids(record.uri, record.version, starts, options)


def _fixed_options(table: VectorTable, asked: ReaderOptions) -> ReaderOptions:
    fixed = ReaderOptions(
        text=table.reader.get("text"),
        id=table.reader.get("id"),
        keep=tuple(table.reader.get("keep", ())),
        slice_rows=int(table.reader.get("slice_rows", asked.slice_rows)),
    )
    for name in ("text", "id"):
        wanted, has = getattr(asked, name), getattr(fixed, name)
        if wanted is not None and (wanted or None) != has:
            given = wanted or "''"
            raise UsageError(f"--{name} {given}: {table.location} was made with {name} column {has!r}, which is fixed")
    if asked.keep and asked.keep != fixed.keep:
        names = ", ".join(fixed.keep) or "no metadata columns"
        raise UsageError(f"--keep {' '.join(asked.keep)}: {table.location} was made with {names}; that is fixed")
    return fixed
