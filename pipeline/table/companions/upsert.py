"""Companions: what is known beside a table's rows, upserted by key and kept in few fragments.

Every upsert adds a fragment, and every reader opens all of them: a thousand would cost a commit that looks at the
rejects more than a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa

from pipeline.columns import aligned
from pipeline.table.fragments.compaction import compact
from pipeline.table.store import create_dataset, open_dataset, storage_errors

if TYPE_CHECKING:
    import lance
    import pyarrow.compute as pc

    from pipeline.table.location import TableLocation

__all__ = ["delete_rows", "update", "upsert"]

MAX_CONFLICTS: Final = 50
"""Attempts before an upsert gives up; each that fails means that another writer won."""


def upsert(location: TableLocation, rows: pa.Table, keys: list[str], *, unless: str | None = None) -> None:
    """Insert `rows` or replace those of the same `keys`, creating the dataset on the first write.

    Args:
        location: where.
        rows: at most one row per key.
        keys: the primary key, whose fields carry Lance's primary-key metadata.
        unless: constant SQL on the row that is there (``target.x = …``); where it holds, that row stays.
    """
    if rows.num_rows == 0:
        return
    dataset, _ = create_dataset(location, rows.schema)
    _widen(location, dataset, rows.schema)
    condition = None if unless is None else f"NOT ({unless})"
    with storage_errors("write", location):
        merge = dataset.merge_insert(keys).when_matched_update_all(condition).when_not_matched_insert_all()
        merge.conflict_retries(MAX_CONFLICTS).execute(aligned(rows))
        dataset.checkout_latest()
    compact(location, dataset)


def _widen(location: TableLocation, dataset: lance.LanceDataset, schema: pa.Schema) -> None:
    """Give a companion that an older version of this package made the columns that it lacks, all null."""
    missing = [field for field in schema if field.name not in dataset.schema.names]
    if not missing:
        return
    with storage_errors("add columns to", location):
        try:
            dataset.add_columns(pa.schema(missing))
        except (OSError, ValueError):
            dataset.checkout_latest()
            if any(field.name not in dataset.schema.names for field in missing):  # nobody else was quicker
                raise


def update(location: TableLocation, rows: pa.Table, keys: list[str], *, where: str) -> None:
    """Replace the rows of the same `keys` for which `where`, SQL on the row that is there (``target.x = …``), holds."""
    dataset = open_dataset(location) if rows.num_rows else None
    if dataset is not None:
        with storage_errors("write", location):
            merge = dataset.merge_insert(keys).when_matched_update_all(where)
            merge.conflict_retries(MAX_CONFLICTS).execute(aligned(rows))


def delete_rows(location: TableLocation, condition: pc.Expression) -> int:
    """Delete the rows of a companion for which `condition` holds, if there are any; returns how many.

    Raises:
        TableError: the storage refused.
    """
    dataset = open_dataset(location)
    if dataset is None:
        return 0
    with storage_errors("write", location):
        count = dataset.count_rows(filter=condition)
        if count:
            dataset.delete(condition)
    return count
