"""Input files, begun and finished: the ledger's coarse half, so that a finished stream need not be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from pipeline.table.schema import FILES
from pipeline.table.store import read_all, upsert

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.table.location import TableLocation

__all__ = ["FileRecord", "begin_files", "read_files", "record_files"]


class FileRecord(Protocol):
    """What the reader says of a file whose end it has seen (`pipeline.corpus`)."""

    @property
    def uri(self) -> str:
        """Canonical URI."""
        ...

    @property
    def version(self) -> str:
        """Etag, or size and time."""
        ...

    @property
    def slices(self) -> int:
        """How many slices the file has."""
        ...

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        ...


def begin_files(location: TableLocation, files: Iterable[tuple[str, str]], run: str) -> None:
    """Note the (uri, version) of files that a run is about to read; what is recorded as complete stays so.

    A file that changes after a run was interrupted is known by this: rows of its older version may be in the table.
    """
    rows = [_row(uri, version, None, None, run, complete=False) for uri, version in sorted(set(files))]
    _write(location, rows, unless="target.complete")


def record_files(location: TableLocation, records: Sequence[FileRecord], run: str) -> None:
    """Upsert `records` as complete, one row per uri and version."""
    distinct = {(record.uri, record.version): record for record in records}
    _write(
        location,
        [_row(each.uri, each.version, each.slices, each.rows, run, complete=True) for each in distinct.values()],
    )


def read_files(location: TableLocation) -> pa.Table:
    """All file records of a table."""
    return read_all(location.sibling("files"), FILES)


def _row(uri: str, version: str, slices: int | None, rows: int | None, run: str, *, complete: bool) -> dict[str, Any]:
    return {"uri": uri, "version": version, "slices": slices, "rows": rows, "complete": complete, "run": run}


def _write(location: TableLocation, rows: list[dict[str, Any]], unless: str | None = None) -> None:
    table = pa.Table.from_pylist(rows, schema=FILES)
    upsert(location.sibling("files"), table, ["uri", "version"], unless=unless)
