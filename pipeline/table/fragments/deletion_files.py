"""Fragments without some of their rows, for a commit in which old rows go in the instant in which new ones come.

Lance's own ways do not serve here. A Delete or Update lets appends pass in between, and Merge, the only operation that
conflicts with everything, refuses to lose a fragment. So a fragment keeps its data file and gets a deletion file (Lance
format: an Arrow file of row numbers), also where all of its rows go; Lance leaves such a fragment out of the version,
and index entries of deleted rows are masked by the deletion file.
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from lance.file import LanceFileSession
from lance.fragment import DeletionFile

from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance
    import pyarrow.compute as pc
    from lance.fragment import FragmentMetadata

    from pipeline.table.location import TableLocation

__all__ = ["without", "without_rows"]

_ROWS: Final = pa.schema([pa.field("row_id", pa.uint32(), nullable=False)])
_FRAGMENT_BITS: Final = 32
"""A row address is the fragment's number, then the row's number in it."""


def without(
    location: TableLocation, dataset: lance.LanceDataset, condition: pc.Expression
) -> tuple[list[FragmentMetadata], int]:
    """All fragments of `dataset`, those with rows that meet `condition` without them, and how many rows these are.

    Writes deletion files, which count for nothing until a commit names the fragments.

    Raises:
        TableError: the storage refused.
    """
    with storage_errors("write to", location):
        doomed = _addresses(dataset.scanner(columns=[], filter=condition, with_row_address=True))
    return without_rows(location, dataset, doomed), len(doomed)


def without_rows(location: TableLocation, dataset: lance.LanceDataset, doomed: np.ndarray) -> list[FragmentMetadata]:
    """All fragments of `dataset`, without the rows at the addresses `doomed` (int64); as `without`."""
    numbers = doomed >> _FRAGMENT_BITS
    hit = set(np.unique(numbers).tolist())
    with storage_errors("write to", location):
        return [
            _thinned(location, dataset, fragment, doomed[numbers == fragment.fragment_id])
            if fragment.fragment_id in hit
            else fragment.metadata
            for fragment in dataset.get_fragments()
        ]


def _thinned(
    location: TableLocation, dataset: lance.LanceDataset, fragment: lance.LanceFragment, doomed: np.ndarray
) -> FragmentMetadata:
    """`fragment` without the rows at the addresses `doomed`, nor those that it has lost before."""
    metadata = fragment.metadata
    live = _addresses(dataset.scanner(columns=[], fragments=[fragment], with_row_address=True))
    deleted = np.ones(metadata.physical_rows, bool)
    deleted[np.setdiff1d(live, doomed) & (2**_FRAGMENT_BITS - 1)] = False
    metadata.deletion_file = _write(location, dataset.version, fragment.fragment_id, np.flatnonzero(deleted))
    return metadata


def _write(location: TableLocation, version: int, fragment: int, rows: np.ndarray) -> DeletionFile:
    file = DeletionFile(version, secrets.randbits(63), "array", len(rows), None)
    table = pa.table({"row_id": pa.array(rows, pa.uint32())}, schema=_ROWS)
    session = LanceFileSession(location.uri, storage_options=dict(location.options))
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "rows.arrow"
        with pa.ipc.new_file(local, _ROWS) as writer:
            writer.write_table(table.combine_chunks())
        session.upload_file(local, file.path(fragment))
    return file


def _addresses(scanner: lance.LanceScanner) -> np.ndarray:
    found = [batch.column("_rowaddr").to_numpy() for batch in scanner.to_batches()]
    return np.concatenate([np.empty(0, np.int64), *(part.astype(np.int64) for part in found)])
