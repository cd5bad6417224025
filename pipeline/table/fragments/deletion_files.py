"""Fragments without some of their rows: old ones that lose rows in a commit, new ones of which not all rows may enter.

Lance's own ways do not serve here. A Delete or Update lets appends pass in between, and Merge, the only operation that
conflicts with everything, refuses to lose a fragment. So a fragment keeps its data file and gets a deletion file (Lance
format: an Arrow file of row numbers), also where all of its rows go. Lance leaves such a fragment out of the version.
Index entries of deleted rows are masked by the deletion file.

A deletion file's name holds the number of its fragment, which Lance gives to new fragments when they are committed. So
new fragments with refused rows are numbered here (`next_fragment_id`).
"""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet
from lance.file import LanceFileSession
from lance.fragment import DeletionFile, FragmentMetadata

from pipeline.table.store import storage_errors
from pipeline.table.swap import present_fragments

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance
    import pyarrow.compute as pc

    from pipeline.table.fragments.staging import Staged
    from pipeline.table.location import TableLocation

__all__ = ["fragments_without", "next_fragment_id", "staged_fragments"]

_ROWS: Final = pa.schema([pa.field("row_id", pa.uint32(), nullable=False)])
_MAX_NUMBER: Final = 11
"""Lance's manifest: the highest number that a fragment ever had."""
_FRAGMENT_BITS: Final = 32
"""A row address is the fragment's number, then the row's number in it."""


def fragments_without(
    location: TableLocation, dataset: lance.LanceDataset, condition: pc.Expression | None
) -> tuple[list[FragmentMetadata], int]:
    """All fragments of `dataset`, without the rows that meet `condition`, and how many these are; None: none does.

    Writes deletion files, which count for nothing until a commit names the fragments.

    Raises:
        TableError: the storage refused.
    """
    if condition is None:
        return present_fragments(dataset), 0
    with storage_errors("write to", location):
        doomed = _addresses(dataset.scanner(columns=[], filter=condition, with_row_address=True))
        numbers = doomed >> _FRAGMENT_BITS
        hit = set(np.unique(numbers).tolist())
        fragments = [
            _thinned(location, dataset, fragment, doomed[numbers == fragment.fragment_id])
            if fragment.fragment_id in hit
            else fragment.metadata
            for fragment in dataset.get_fragments()
        ]
    return fragments, len(doomed)


def staged_fragments(
    location: TableLocation, dataset: lance.LanceDataset, parts: Sequence[Staged]
) -> list[FragmentMetadata]:
    """The new fragments of a commit on top of `dataset`, those rows masked that `parts` do not keep.

    A fragment of which no row is kept is left out: its file becomes an orphan. Writes deletion files.

    Raises:
        TableError: the storage refused.
    """
    fragments: list[FragmentMetadata] = []
    refused: list[np.ndarray] = []
    for part in parts:
        start = 0
        for text in part.fragments:
            fragment = FragmentMetadata.from_json(text)
            stop = start + fragment.physical_rows
            is_refused = _outside(part.kept, start, stop)
            if not is_refused.all():
                fragments.append(fragment)
                refused.append(np.flatnonzero(is_refused))
            start = stop
    if any(len(rows) for rows in refused):
        first = next_fragment_id(dataset)
        with storage_errors("write to", location):
            for number, (fragment, rows) in enumerate(zip(fragments, refused, strict=True), first):
                # Once one fragment of a commit has a number, all need one: Lance would begin with the same.
                fragment.id = number
                if len(rows):
                    fragment.deletion_file = _write(location, dataset.version, number, rows)
    return fragments


def _outside(kept: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """For each position from `start` to `stop` whether it is missing in `kept`, bool [stop - start]."""
    missing = np.zeros(stop - start, bool)
    if kept is not None:
        missing[:] = True
        missing[kept[(kept >= start) & (kept < stop)] - start] = False
    return missing


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


def next_fragment_id(dataset: lance.LanceDataset) -> int:
    """A number that no fragment of the table has, or ever had.

    One that was used before would count as covered by the indexes that covered its fragment. Lance's Python API does
    not tell the highest number used, but the manifest does: a protobuf message, the field 11 of which it is.
    """
    manifest: bytes = dataset._ds.serialized_manifest()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    told = [int(each.data) for each in UnknownFieldSet(Empty.FromString(manifest)) if each.field_number == _MAX_NUMBER]
    used = [fragment.fragment_id for fragment in dataset.get_fragments()]
    return max([-1, *used, *told]) + 1
