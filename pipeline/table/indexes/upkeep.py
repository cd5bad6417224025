"""Indexes that exist brought up to date, after commits and by `moee index`.

Rows that came later become a segment of their own. Where there are more than a few, the segments are joined, which
trains nothing: partitions grow. So the vector index is trained again once they are several times as large as when it
was made. Rows are then read again, but only each time that a table has grown by that factor.

What Lance does by default (split and join partitions by itself) makes a version each time. Here a call with nothing to
do makes none. Each step is one commit of Lance: whoever dies in between leaves the older indexes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pipeline.table.indexes.choice import MIN_BYTES, PARTITION_ROWS, Choice, vector_index
from pipeline.table.indexes.listing import has_index, list_indexes
from pipeline.table.schema import VECTOR
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance

    from pipeline.table.indexes.listing import IndexInfo
    from pipeline.table.location import TableLocation

__all__ = ["build_index", "has_outgrown", "refresh_indexes"]

MAX_SEGMENTS: Final = 4
"""Of an index: a query looks into each."""

MAX_GROWTH: Final = 4
"""Times its target that a mean partition may grow to. A query looks into so many times more rows."""


def refresh_indexes(location: TableLocation, dataset: lance.LanceDataset, *, min_bytes: int = MIN_BYTES) -> bool:
    """Bring the indexes of a table up to date; `dataset` shows the result.

    A table that has been indexed gets an index of its vectors, too, as soon as they take `min_bytes`: who asked for
    indexes when it was small does not want every vector to be read when it is large.

    Returns:
        Whether there was anything to do.

    Raises:
        TableError: the storage refused; what earlier steps have done stays.
    """
    with storage_errors("index", location):
        before = dataset.version
        indexes = list_indexes(dataset)
        outgrown = [info for info in indexes if has_outgrown(info)]
        late = [info for info in indexes if info.missing and info not in outgrown]
        full = {info.name: info.segments for info in late if info.segments >= MAX_SEGMENTS}
        added = [info.name for info in late if info.name not in full]
        if added:
            dataset.optimize.optimize_indices(index_names=added, num_indices_to_merge=0)
        if full:
            dataset.optimize.optimize_indices(index_names=[*full], num_indices_to_merge=max(full.values()))
        dataset.checkout_latest()
        if outgrown or (has_index(dataset, "id") and not has_index(dataset, VECTOR)):
            choice = vector_index(
                dataset.count_rows(),
                dataset.schema.field(VECTOR).type.list_size,
                min_bytes=0 if outgrown else min_bytes,
            )
            if choice.kind:
                build_index(dataset, VECTOR, choice)
        return dataset.version > before


def has_outgrown(info: IndexInfo) -> bool:
    """Whether a vector index was trained on far fewer rows than it has to serve."""
    target = PARTITION_ROWS.get(info.kind)
    if target is None or not info.partitions or not info.is_used:
        return False
    return (info.rows + info.missing) / info.partitions > MAX_GROWTH * target


def build_index(dataset: lance.LanceDataset, column: str, choice: Choice) -> None:
    """Build an index, in place of the one that searches in `column` use; `dataset` shows the result.

    An index of another kind that the table's owner has made beside ours stays.
    """
    indexes = list_indexes(dataset)
    ours = [info.name for info in indexes if info.column == column and info.is_used]
    name = ours[0] if ours else f"{column}_idx"
    if not ours and name in {info.name for info in indexes}:
        name = f"moee_{name}"
    make: Any = dataset.create_index if column == VECTOR else dataset.create_scalar_index
    make(column, choice.kind, name=name, replace=True, **choice.parameters)
    dataset.checkout_latest()
