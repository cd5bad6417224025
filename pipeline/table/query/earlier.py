"""A table as it was: an earlier version or a tag, without what was deleted for good since."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import NotInTableError
from pipeline.table.companions.deleted import read_deleted, text_marks
from pipeline.table.query.literals import value_sql
from pipeline.table.schema import document_column
from pipeline.table.store import storage_errors
from pipeline.wording import brief

if TYPE_CHECKING:
    import lance

    from pipeline.table.location import TableLocation

__all__ = ["as_it_was"]


def as_it_was(location: TableLocation, newest: lance.LanceDataset, at: int | str) -> tuple[lance.LanceDataset, str]:
    """The dataset at a version or a tag, and SQL for not being a document that was deleted for good.

    Texts are read where documents are known by their text (`pipeline.table.companions.deleted`).

    Raises:
        NotInTableError: there is no such version, or not any more, or no such tag.
    """
    with storage_errors("read", location):
        try:
            dataset = newest.checkout_version(at if isinstance(at, str) else int(at))
        except (OSError, OverflowError, ValueError) as error:
            raise NotInTableError(f"{location} has no {_kept(newest, at)}") from error
        gone = _deleted_here(dataset, read_deleted(location))
    return dataset, f"id NOT IN ({', '.join(map(value_sql, gone))})" if len(gone) else "TRUE"


def _kept(dataset: lance.LanceDataset, at: int | str) -> str:
    if isinstance(at, str):
        return f"tag {brief(at)}; there are: {', '.join(sorted(dataset.tags.list())) or 'none'}"
    versions = [each["version"] for each in dataset.versions()]
    return f"version {at} that could still be read; kept are {len(versions):,} from {versions[0]} to {versions[-1]}"


def _deleted_here(dataset: lance.LanceDataset, deleted: pa.Table) -> pa.Array:
    """Ids of the rows of `dataset` that are of deleted documents."""
    if not deleted.num_rows:
        return pa.array([], pa.string())
    by_text = pc.is_valid(deleted.column("text_mark"))
    marks = deleted.filter(by_text).column("text_mark").combine_chunks()
    names = deleted.filter(pc.invert(by_text)).column("id").combine_chunks()
    document = document_column(dataset.schema)
    columns = list({"id", document} | ({"text"} if len(marks) else set()))
    found = [pa.array([], pa.string())]
    for batch in dataset.to_batches(columns=columns):
        here = pc.or_(pc.is_in(batch.column("id"), names), pc.is_in(batch.column(document), names))
        if len(marks):
            here = pc.or_(here, pc.is_in(text_marks(batch.column("text")), marks))
        found.append(batch.filter(here).column("id"))
    return pa.chunked_array(found).combine_chunks()
