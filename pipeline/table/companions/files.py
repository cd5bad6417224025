"""Input files, begun and finished: the ledger's coarse half, so that a finished stream need not be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import aligned
from pipeline.table.companions.rejects import forget_marks
from pipeline.table.companions.upsert import update, upsert
from pipeline.table.schema import FILES
from pipeline.table.store import open_dataset, read_all, storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pipeline.corpus import FileRecord, SourceFile
    from pipeline.table.location import TableLocation

__all__ = [
    "NO_RUN",
    "begin_files",
    "drop_older",
    "read_files",
    "record_files",
    "reopen_older",
    "unbegun",
    "unfinished",
]


_KEYS: Final = ["uri", "version"]

NO_RUN: Final = ""
"""The run of a record that was taken back: rows of that version may still be there, but nothing of it is finished."""


def begin_files(location: TableLocation, files: Iterable[tuple[str, str]], run: str) -> None:
    """Note the (uri, version) of files that a run is about to read; what is recorded as complete stays so.

    A file that changes after a run was interrupted is known by this: rows of its older version may be in the table.
    Marks of files of which this version was not known before are of no use: a driver that slept may have left them.
    """
    new = unbegun(location, set(files := list(files)))
    if new:
        forget_marks(location, pc.field("source").isin(sorted({uri for uri, _ in new})))
    rows = [_row(uri, version, None, None, run, complete=False) for uri, version in sorted(set(files))]
    _upsert(location, pa.Table.from_pylist(rows, schema=FILES), unless="target.complete")


def record_files(location: TableLocation, records: Sequence[FileRecord], run: str) -> None:
    """Note as complete those of `records` that `run` has begun and no other run since; one row per uri and version.

    A driver that slept while another one replaced the file must not say that the older version is complete.
    """
    distinct = {(record.uri, record.version): record for record in records}
    rows = [_row(each.uri, each.version, each.slices, each.rows, run, complete=True) for each in distinct.values()]
    update(location.sibling("files"), pa.Table.from_pylist(rows, schema=FILES), _KEYS, where=f"target.run = '{run}'")


def unbegun(location: TableLocation, files: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of `files`, (uri, version), that no run has begun to read: no slice of theirs can be finished."""
    records = read_files(location, pc.field("run") != NO_RUN)
    return files - set(zip(records.column("uri").to_pylist(), records.column("version").to_pylist(), strict=True))


def read_files(location: TableLocation, filter: pc.Expression | None = None) -> pa.Table:  # noqa: A002
    """All file records of a table, or those for which `filter` holds."""
    return read_all(location.sibling("files"), FILES, filter)


def reopen_older(location: TableLocation, versions: Mapping[str, str]) -> None:
    """Take back other versions of the files than `versions` (URI → version): their rows are to go.

    A record that said longer than the rows are there that a version is complete would let a file that comes back be
    skipped. It is no run's record any more, so that the run which began it cannot say so late.
    """
    older = _older(location, versions)
    count = older.num_rows
    taken_back = {"complete": pa.array([False] * count, pa.bool_()), "run": pa.array([NO_RUN] * count, pa.string())}
    columns = [taken_back.get(name, older.column(name)) for name in FILES.names]
    _upsert(location, pa.Table.from_arrays(columns, schema=FILES))


def drop_older(location: TableLocation, versions: Mapping[str, str]) -> None:
    """Remove the records of other versions of the files than `versions` (URI → version)."""
    older = _older(location, versions).select(_KEYS)
    files = open_dataset(location.sibling("files"))
    if files is not None and older.num_rows:
        with storage_errors("write", location.sibling("files")):
            files.merge_insert(_KEYS).when_matched_delete().execute(aligned(older))


def unfinished(location: TableLocation, files: Iterable[SourceFile]) -> list[str]:
    """Those of `files`, as URIs, that are not recorded as complete."""
    records = read_all(location.sibling("files"), FILES, pc.field("complete"))
    complete = set(zip(records.column("uri").to_pylist(), records.column("version").to_pylist(), strict=True))
    return [file.uri for file in files if (file.uri, file.version) not in complete]


def _older(location: TableLocation, versions: Mapping[str, str]) -> pa.Table:
    if not versions:
        return FILES.empty_table()
    records = read_all(location.sibling("files"), FILES, pc.field("uri").isin(list(versions)))
    current = pa.array([versions[uri] for uri in records.column("uri").to_pylist()], pa.string())
    return records.filter(pc.not_equal(records.column("version"), current))


def _row(uri: str, version: str, slices: int | None, rows: int | None, run: str, *, complete: bool) -> dict[str, Any]:
    return {"uri": uri, "version": version, "slices": slices, "rows": rows, "complete": complete, "run": run}


def _upsert(location: TableLocation, table: pa.Table, unless: str | None = None) -> None:
    upsert(location.sibling("files"), table, _KEYS, unless=unless)
