"""What is in a table, for people: rows, versions, files, indexes, rejects, runs, companions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pipeline.table.files import read_files
from pipeline.table.indexes import list_indexes
from pipeline.table.location import COMPANIONS
from pipeline.table.rejects import reject_counts
from pipeline.table.runs import read_runs
from pipeline.table.store import storage_errors, table_names

if TYPE_CHECKING:
    from datetime import datetime

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["describe"]


def describe(location: TableLocation, dataset: lance.LanceDataset) -> dict[str, Any]:
    """The changing half of `VectorTable.info`, as JSON can hold it."""
    with storage_errors("look into", location):
        names = set(table_names(location))
        versions = dataset.versions()
        rejects = reject_counts(location)
        return {
            "rows": dataset.count_rows(),
            "version": dataset.version,
            "versions": len(versions),
            "changed": str(cast("datetime", versions[-1]["timestamp"]).isoformat()),
            "fragments": len(dataset.get_fragments()),
            "columns": {field.name: str(field.type) for field in dataset.schema},
            "indexes": [asdict(index) for index in list_indexes(dataset)],
            "rejects": {"total": sum(rejects.values()), "reasons": rejects},
            "files": int(np.sum(read_files(location).column("complete").to_numpy(zero_copy_only=False))),
            "runs": [_run(row) for row in read_runs(location).to_pylist()],
            "companions": [suffix for suffix in COMPANIONS if f"{location.name}.{suffix}" in names],
        }


def _run(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name].isoformat() if row[name] else None for name in ("started", "ended")}
    return {**row, **times}
