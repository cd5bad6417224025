"""Indexes of a table: vectors, ids, text. Built on request, refreshed where they exist; search works without them.

Measured at 15k × 256 float16, cosine: IVF_RQ builds in 0.8 s, IVF_PQ in 41 s; with 5 bits and refinement its
recall@10 is 1.0 also at 2,048 dimensions. Rows written after a build are searched as well, only more slowly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pipeline.table.schema import VECTOR, document_column
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    import lance
    import pyarrow as pa

    from pipeline.table.location import TableLocation

__all__ = ["MIN_ROWS", "IndexInfo", "build_indexes", "has_index", "list_indexes"]

MIN_ROWS: Final = 10_000
"""Below, comparing with every vector is fast and exact."""

_TOKENIZER: Final = "icu/split"
"""Finds words of scripts without blanks (台風, ค้นหา), and the parts of `node.js` and `foo_bar`; `++` is no word."""
_RQ_BITS: Final = 5
_RQ_MULTIPLE: Final = 8
"""IVF_RQ takes dimensions that are multiples of this; others get scalar quantization."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """An index: its name, column and kind, and how many rows it covers and does not cover yet."""

    name: str
    column: str
    kind: str
    rows: int
    missing: int


def build_indexes(location: TableLocation, dataset: lance.LanceDataset, *, min_rows: int = MIN_ROWS) -> list[IndexInfo]:
    """Build what is missing (vectors only from `min_rows` rows on), bring the others up to date.

    Raises:
        TableError: the storage refused.
    """
    there = {info.column for info in list_indexes(dataset)}
    with storage_errors("index", location):
        if there:
            dataset.optimize.optimize_indices()
        if VECTOR not in there and dataset.count_rows() >= max(min_rows, 2):
            _build_vector_index(dataset)
        for column in sorted({"id", document_column(dataset.schema)} - there):
            dataset.create_scalar_index(column, "BTREE")
        if "text" in dataset.schema.names and _text_tokenizer(dataset) != _TOKENIZER:
            dataset.create_scalar_index("text", "INVERTED", with_position=False, base_tokenizer=_TOKENIZER)
        dataset.checkout_latest()
    return list_indexes(dataset)


def _text_tokenizer(dataset: lance.LanceDataset) -> str | None:
    """What divides texts in the text index that is there; None: there is none."""
    for index in dataset.describe_indices():
        if list(index.field_names) == ["text"]:
            return str(index.details.get("base_tokenizer"))
    return None


def _build_vector_index(dataset: lance.LanceDataset) -> None:
    kind: pa.FixedSizeListType = dataset.schema.field(VECTOR).type
    if kind.list_size % _RQ_MULTIPLE == 0:
        dataset.create_index(VECTOR, "IVF_RQ", metric="cosine", num_bits=_RQ_BITS)
    else:
        dataset.create_index(VECTOR, "IVF_SQ", metric="cosine")


def list_indexes(dataset: lance.LanceDataset) -> list[IndexInfo]:
    """The indexes of a table, by name."""
    total = dataset.count_rows()
    found: list[IndexInfo] = []
    for index in dataset.describe_indices():
        statistics: dict[str, Any] = dataset.stats.index_stats(index.name)
        rows = int(index.num_rows_indexed)
        kind = str(statistics.get("index_type", "unknown"))
        found.append(IndexInfo(str(index.name), str(index.field_names[0]), kind, rows, max(total - rows, 0)))
    return sorted(found, key=lambda info: info.name)


def has_index(dataset: lance.LanceDataset, column: str) -> bool:
    """Whether `column` has an index."""
    return any(column in index.field_names for index in dataset.describe_indices())
