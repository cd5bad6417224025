"""Staging: rows become data files that no version of the table names yet. Runs in the workers.

A staged fragment costs nothing until a commit names it; one that is never committed is an orphan file, invisible to
readers. Only the small `Staged` travels to the driver: the fragments' JSON and the rows' keys.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
from lance.file import LanceFileReader
from lance.fragment import FragmentMetadata, write_fragments

from pipeline.columns import aligned
from pipeline.rejects import PLACE
from pipeline.table.schema import align_rows, document_column
from pipeline.table.store import existing_dataset, storage_errors

if TYPE_CHECKING:
    import lance

    from pipeline.table.location import TableLocation

__all__ = ["KEYS", "Staged", "fragment_paths", "restage", "schema_key", "stage", "staged_before", "staged_column"]

KEYS: Final = pa.schema([("id", pa.string()), ("source", pa.string()), ("slice", pa.int64()), ("row", pa.int64())])
"""What the driver needs to know of a staged row: the id of its document, and where it came from."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Data files waiting for a commit, and the keys of their rows in the files' order.

    A slice's accepted rows are always together in one `Staged`.
    """

    fragments: tuple[str, ...]
    """Lance's FragmentMetadata as JSON, one per file."""
    keys: pa.Table
    schema_key: str
    """The table's columns when this was staged; committed under other columns it would make the table unreadable."""
    kept: np.ndarray | None = None
    """Positions in the files of the rows that `keys` tells of, int64, ascending; None: all rows of the files."""

    @property
    def n_rows(self) -> int:
        """How many rows are staged."""
        return self.keys.num_rows

    @property
    def n_documents(self) -> int:
        """How many documents they are, or are chunks of."""
        return self.keys.group_by(PLACE).aggregate([]).num_rows

    @property
    def n_bytes(self) -> int:
        """Of the files."""
        return sum(file["file_size_bytes"] or 0 for text in self.fragments for file in json.loads(text)["files"])

    @property
    def slices(self) -> pa.Array:
        """The distinct slices, int64."""
        return self.keys.column("slice").unique()

    def keep(self, mask: np.ndarray) -> Staged:
        """Only the rows where `mask` (bool [n_rows]) is true; the files stay as they are."""
        if mask.all():
            return self
        positions = np.arange(self.n_rows) if self.kept is None else self.kept
        return replace(self, keys=self.keys.filter(pa.array(mask)), kept=positions[mask])

    def to_table(self) -> pa.Table:
        """One row that holds everything: what travels from a worker to the driver. Nothing may be masked yet."""
        keys = self.keys.combine_chunks()
        arrays = {name: _one_list(keys.column(name)) for name in KEYS.names}
        fragments = pa.array([list(self.fragments)], pa.list_(pa.string()))
        return pa.table({"fragments": fragments, **arrays, "schema_key": [self.schema_key]})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """From the first row of what `to_table` made."""
        keys = {name: table.column(name)[0].values for name in KEYS.names}
        return cls(
            fragments=tuple(table.column("fragments")[0].as_py()),
            keys=pa.table(keys, schema=KEYS),
            schema_key=str(table.column("schema_key")[0].as_py()),
        )


def stage(location: TableLocation, rows: pa.Table) -> Staged:
    """Write `rows` (schema ROWS; nullable columns may be missing) as uncommitted fragments of the table.

    Raises:
        UsageError: the rows do not fit the table's columns.
        TableNotFoundError: there is no table.
        TableError: the files cannot be written.
    """
    dataset = existing_dataset(location)
    return _write(location, dataset, align_rows(rows, dataset.schema))


def _write(location: TableLocation, dataset: lance.LanceDataset, rows: pa.Table) -> Staged:
    fragments: list[FragmentMetadata] = []
    if rows.num_rows:
        with storage_errors("write to", location):
            options = dict(location.options) or None
            fragments = write_fragments(aligned(rows), dataset, mode="append", storage_options=options)
    described = tuple(json.dumps(fragment.to_json()) for fragment in fragments)
    return Staged(described, _keys(rows, document_column(dataset.schema)), schema_key(dataset))


def _keys(rows: pa.Table, document: str) -> pa.Table:
    names = [document if name == "id" else name for name in KEYS.names]
    return rows.select(names).rename_columns(KEYS.names).cast(KEYS)


def restage(location: TableLocation, dataset: lance.LanceDataset, staged: Staged) -> Staged:
    """Write the kept rows again, under the table's present columns. The files left behind become orphans."""
    rows = _read(location, staged)
    known = [name for name in rows.column_names if name in dataset.schema.names]
    return _write(location, dataset, align_rows(rows.select(known), dataset.schema))


def staged_before(
    location: TableLocation, dataset: lance.LanceDataset, fragments: tuple[str, ...], schema_key: str
) -> Staged:
    """What `stage` returned for `fragments` (JSON), maybe in an earlier run; the keys are read from the files."""
    document = document_column(dataset.schema)
    columns = [document, *KEYS.names[1:]]
    with storage_errors("read back what was staged for", location):
        rows = pa.concat_tables([_read_file(location, path, columns) for path in fragment_paths(fragments)])
    return Staged(fragments, _keys(rows, document), schema_key)


def staged_column(location: TableLocation, staged: Staged, name: str) -> pa.ChunkedArray:
    """One column of the kept rows, read back from their files."""
    return _read(location, staged, [name]).column(name)


def _read(location: TableLocation, staged: Staged, columns: list[str] | None = None) -> pa.Table:
    with storage_errors("read back what was staged for", location):
        rows = pa.concat_tables([_read_file(location, path, columns) for path in fragment_paths(staged.fragments)])
    return rows if staged.kept is None else rows.take(pa.array(staged.kept))


def _read_file(location: TableLocation, path: str, columns: list[str] | None = None) -> pa.Table:
    options = dict(location.options) or None
    reader = LanceFileReader(f"{location.uri}/data/{path}", storage_options=options, columns=columns)
    return reader.read_all().to_table()


def fragment_paths(fragments: tuple[str, ...]) -> list[str]:
    """The data files' names, which are never used again, of fragments in JSON."""
    documents: list[dict[str, Any]] = [json.loads(fragment) for fragment in fragments]
    return [str(file["path"]) for document in documents for file in document["files"]]


def schema_key(dataset: lance.LanceDataset) -> str:
    """What a data file's layout depends on: the ids, names and types of the table's columns."""
    ids = [field.id() for field in dataset.lance_schema.fields()]
    text = f"{ids} {dataset.schema.remove_metadata()}"
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _one_list(column: pa.ChunkedArray) -> pa.ListArray:
    values = column.combine_chunks()
    values = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    return pa.ListArray.from_arrays(pa.array([0, len(values)], pa.int32()), values)
