"""What a run has to do: the table it is for, the files it reads, the units that are left."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from pipeline.corpus import (
    ReaderOptions,
    SourceFile,
    WorkUnit,
    keep_schema,
    list_sources,
    plan,
    resolve_columns,
    slice_id,
)
from pipeline.embedding.calibration import SAMPLE_SIZE
from pipeline.errors import SourceError, UsageError
from pipeline.table import Ledger, VectorTable
from pipeline.table.files import FileRecord, read_files
from pipeline.table.store import open_dataset

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np

    from pipeline.table import TableLocation

__all__ = ["CANDIDATES", "MAX_ROWS", "Work", "known_records", "open_if_there", "plan_work", "slices_of"]

MAX_ROWS: Final = 1024
"""Rows in a work unit: some seconds of a small model on a laptop's CPU, half a second of a large one on a GPU."""


CANDIDATES: Final = 4 * SAMPLE_SIZE
"""Documents among which the calibration sample is drawn, in the order of the plan."""


@dataclass(frozen=True, slots=True)
class Work:
    """A plan: what is left to do, and what was found already done.

    `sample`: the units, limit or not, that hold the documents from which a calibration is drawn. `changed`: files that
    the table holds in another version than the one that is there now; they are left alone.
    """

    options: ReaderOptions
    keep: pa.Schema
    files: tuple[SourceFile, ...]
    units: tuple[WorkUnit, ...]
    sample: tuple[WorkUnit, ...]
    done: np.ndarray
    finished_files: int
    changed: tuple[str, ...]

    @property
    def present(self) -> list[SourceFile]:
        """The files that are as the table knows them, or new to it."""
        changed = set(self.changed)
        return [file for file in self.files if file.uri not in changed]

    @property
    def rows(self) -> int | None:
        """Rows to read; None where a stream's length is unknown until it has been read."""
        parts = [part for unit in self.units for part in unit.parts]
        return None if any(part.slices is None for part in parts) else sum(unit.rows for unit in self.units)

    @property
    def slices(self) -> int:
        """Slices to read, as far as they are known."""
        return sum(len(unit.slices) for unit in self.units)

    def to_json(self) -> dict[str, Any]:
        """The plan in figures."""
        return {
            "files": len(self.files),
            "bytes": sum(file.size for file in self.files),
            "finished_files": self.finished_files,
            "changed_files": list(self.changed),
            "units": len(self.units),
            "slices": self.slices,
            "rows": self.rows,
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
) -> Work:
    """List the sources, settle which columns are read, and leave out what the table has.

    Raises:
        SourceError: a source cannot be listed, a column is not there, or there is nothing to read.
        UsageError: reader options other than the ones fixed in the table.
    """
    files = [file for file in list_sources(sources, storage_options=storage_options) if not _own(file, location)]
    if not files:
        raise SourceError(f"nothing to read in {', '.join(sources)}: it holds only the table {location} itself")
    if table is None:
        settled = resolve_columns(files, options, storage_options=storage_options)
        keep = keep_schema(files, settled, storage_options=storage_options)
        ledger, seen = Ledger(), {}
    else:
        settled = _fixed_options(table, options)
        keep = pa.schema([table.schema.field(name) for name in settled.keep])
        ledger, seen = Ledger.load(location), _versions_by_uri(location)
    changed = {file.uri for file in files if seen.get(file.uri, {file.version}) != {file.version}}
    present = [file for file in files if file.uri not in changed]
    most = MAX_ROWS if limit is None else min(MAX_ROWS, limit)
    units = plan(
        present,
        settled,
        done=ledger.done,
        complete_files=ledger.complete_files,
        max_rows=most,
        storage_options=storage_options,
    )
    sample = tuple(_holding(units, CANDIDATES))
    planned = itertools.chain(sample, units)
    return Work(
        options=settled,
        keep=keep,
        files=tuple(files),
        units=tuple(planned if limit is None else _holding(planned, limit)),
        sample=sample,
        done=ledger.done,
        finished_files=sum((file.uri, file.version) in ledger.complete_files for file in present),
        changed=tuple(sorted(changed)),
    )


def slices_of(record: FileRecord, options: ReaderOptions) -> list[int]:
    """The ids of all slices of a file that was read to its end."""
    starts = range(0, record.slices * options.slice_rows, options.slice_rows)
    return [slice_id(record.uri, record.version, start, start + options.slice_rows, options) for start in starts]


def known_records(units: Iterable[WorkUnit], options: ReaderOptions) -> list[FileRecord]:
    """The records of all planned files whose length is known before they are read."""
    records = {part.file: part.record(options) for unit in units for part in unit.parts}
    return [record for record in records.values() if record is not None]


def _own(file: SourceFile, location: TableLocation) -> bool:
    """Whether `file` is the table that is being written, or one of its companions."""
    path = file.uri.removeprefix("file://")
    stem = location.uri.removesuffix(".lance")
    return file.format == "lance" and (path == location.uri or path.startswith(f"{stem}."))


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


def _versions_by_uri(location: TableLocation) -> dict[str, set[str]]:
    files = read_files(location)
    versions: dict[str, set[str]] = {}
    for uri, version in zip(files.column("uri").to_pylist(), files.column("version").to_pylist(), strict=True):
        versions.setdefault(uri, set()).add(version)
    return versions


def _holding(units: Iterable[WorkUnit], rows: int) -> Iterator[WorkUnit]:
    """The first units that together hold `rows` rows; streams count as none, since nobody knows."""
    held = 0
    for unit in units:
        yield unit
        held += unit.rows
        if held >= rows:
            return
