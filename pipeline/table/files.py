"""Input files that are finished as a whole: the ledger's coarse half, so that a stream need not be read again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pyarrow as pa

from pipeline.table.schema import FILES
from pipeline.table.store import read_all, upsert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.table.location import TableLocation

__all__ = ["FileRecord", "read_files", "record_files"]


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


def record_files(location: TableLocation, records: Sequence[FileRecord], run: str) -> None:
    """Upsert `records` as complete, one row per uri and version."""
    distinct = {(record.uri, record.version): record for record in records}
    rows = [
        {
            "uri": record.uri,
            "version": record.version,
            "slices": record.slices,
            "rows": record.rows,
            "complete": True,
            "run": run,
        }
        for record in distinct.values()
    ]
    upsert(location.sibling("files"), pa.Table.from_pylist(rows, schema=FILES), ["uri", "version"])


def read_files(location: TableLocation) -> pa.Table:
    """All file records of a table."""
    return read_all(location.sibling("files"), FILES)
