"""What is in a table, for people: rows, versions, files, indexes, rejects, runs, companions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import pyarrow.compute as pc

from pipeline.table.companions.files import read_files
from pipeline.table.companions.journal import read_journal
from pipeline.table.companions.rejects import reject_counts
from pipeline.table.companions.runs import read_runs
from pipeline.table.indexes.listing import list_indexes
from pipeline.table.location import COMPANIONS
from pipeline.table.schema import document_column
from pipeline.table.store import storage_errors, table_names

if TYPE_CHECKING:
    from datetime import datetime

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["count_documents", "describe"]


def describe(location: TableLocation, dataset: lance.LanceDataset) -> dict[str, Any]:
    """The changing half of `VectorTable.info`, as JSON can hold it."""
    with storage_errors("look into", location):
        names = set(table_names(location))
        versions = dataset.versions()
        rejects, files, journal = reject_counts(location), read_files(location), read_journal(location)
        return {
            "rows": dataset.count_rows(),
            "documents": count_documents(dataset),
            "version": dataset.version,
            "versions": len(versions),
            "changed": str(cast("datetime", versions[-1]["timestamp"]).isoformat()),
            "fragments": len(dataset.get_fragments()),
            "columns": {field.name: str(field.type) for field in dataset.schema},
            "indexes": [asdict(index) for index in list_indexes(dataset)],
            "rejects": {"total": sum(rejects.values()), "reasons": rejects},
            "files": len(files.filter(files.column("complete")).column("uri").unique()),
            "waiting": {"files": len(journal.column("uri").unique()), "slices": journal.num_rows},
            "runs": [_run(row) for row in read_runs(location).to_pylist()],
            "companions": [suffix for suffix in COMPANIONS if f"{location.name}.{suffix}" in names],
        }


def count_documents(dataset: lance.LanceDataset) -> int:
    """How many documents the table holds: its rows, or those that are a document's first chunk."""
    chunked = document_column(dataset.schema) != "id"
    with storage_errors("count the documents in", dataset):
        return dataset.count_rows(filter=pc.field("chunk") == 0 if chunked else None)


def _run(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name].isoformat() if row[name] else None for name in ("started", "ended")}
    return {**row, **times}
