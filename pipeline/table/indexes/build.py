"""`moee index`: every index that a table should have, those that exist brought up to date."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from pipeline.table.indexes.choice import MAX_BITMAP_VALUES, MIN_BYTES, choose_indexes
from pipeline.table.indexes.listing import list_indexes
from pipeline.table.indexes.upkeep import build_index, refresh_indexes
from pipeline.table.schema import VECTOR
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance

    from pipeline.table.indexes.listing import IndexInfo
    from pipeline.table.location import TableLocation

__all__ = ["build_indexes", "has_few_values"]

_KINDS: Final = {"BTREE": "BTree", "BITMAP": "Bitmap", "LABEL_LIST": "LabelList", "INVERTED": "Inverted"}
"""What an index is called when it is built → in its statistics."""

_BATCH_ROWS: Final = 1 << 16


def build_indexes(
    location: TableLocation, dataset: lance.LanceDataset, *, min_bytes: int = MIN_BYTES, rebuild: bool = False
) -> list[IndexInfo]:
    """Build what is missing or made otherwise (vectors only from `min_bytes` on), bring the others up to date.

    With `rebuild` the index of the vectors is built again, whoever made the one that is there.

    Raises:
        TableError: the storage refused; what earlier steps have done stays.
    """
    refresh_indexes(location, dataset, min_bytes=min_bytes)
    with storage_errors("index", location):
        kept = [info for info in list_indexes(dataset) if info.is_used and not (rebuild and info.column == VECTOR)]
        there = {info.column: info for info in kept}
        few = partial(has_few_values, dataset)
        choices = choose_indexes(dataset.schema, dataset.count_rows(), min_bytes=min_bytes, has_few_values=few)
        for column, choice in choices.items():
            if choice.kind and not _is_kept(there.get(column), choice.kind):
                build_index(dataset, column, choice)
    return list_indexes(dataset)


def _is_kept(info: IndexInfo | None, kind: str) -> bool:
    """Whether there is an index that need not be built again; of vectors, one of any kind."""
    return info is not None and info.is_current and (info.column == VECTOR or info.kind == _KINDS[kind])


def has_few_values(dataset: lance.LanceDataset, column: str) -> bool:
    """Whether `column` has at most `MAX_BITMAP_VALUES` values: reads until it has seen more."""
    seen = pa.array([], dataset.schema.field(column).type)
    for batch in dataset.to_batches(columns=[column], batch_size=_BATCH_ROWS):
        seen = pa.concat_arrays([seen, batch.column(0).unique()]).unique()
        if len(seen) > MAX_BITMAP_VALUES:
            return False
    return True
