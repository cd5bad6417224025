"""Reading documents from the vector table: a sample to cluster, or all of them batch by batch.

Clustered documents are ordered by a hash of their id, so that a fit depends on the content of the table and not on the
order in which it was written. Of a table that is too large, each input file gives its share, lowest hashes first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import string_hashes
from pipeline.errors import TopicError, UsageError
from pipeline.table.fragments.rows import take_rows
from pipeline.topics.keys import document_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lance import LanceDataset
    from numpy.typing import NDArray

__all__ = [
    "Documents",
    "VectorBatch",
    "fragment_of",
    "key_columns",
    "keys_of",
    "keys_of_table",
    "raw_batches",
    "read_documents",
    "read_sample",
    "read_vectors",
    "slice_column",
    "stratified",
    "usable_documents",
]

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 8192
"""32 MB of 1024 dimensions in float32; larger batches were no faster."""

ID_BATCH_ROWS: Final = 1 << 17
"""Rows of a batch without vectors and texts."""

MIN_SAMPLED_PER_FILE: Final = 5
"""Documents that each input file gives to a sample, however small its share."""


class _Table(Protocol):
    """A pa.Table or a pa.RecordBatch."""

    @property
    def schema(self) -> pa.Schema: ...
    def column(self, i: str, /) -> pa.Array | pa.ChunkedArray: ...


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """n documents with a usable vector."""

    ids: pa.Array
    """string [n]."""
    vectors: NDArray[np.float32]
    """float32 [n, D], unit length."""
    slices: pa.Array
    """int64 [n]; null where the table has no slices."""
    texts: pa.Array | None = None
    """string [n], null where there is no text; None unless asked for."""


@dataclass(frozen=True, slots=True)
class Documents:
    """n documents to cluster, in the order of the hashes of their ids."""

    ids: pa.Array
    """string [n]."""
    hashes: NDArray[np.uint64]
    """uint64 [n], ascending."""
    vectors: NDArray[np.float32]
    """float32 [n, D], unit length."""
    slices: pa.Array
    """int64 [n]; null where the table has no slices."""
    texts: list[str]
    """[n]; empty where there is no text."""
    is_sample: bool
    """Whether the table may hold more documents."""
    extra: list[Any] = field(default_factory=list)
    """[n]: values of one more column, if asked for."""


def read_sample(dataset: LanceDataset, limit: int, extra: str | None = None) -> Documents:
    """Read all documents, or a sample of `limit` documents.

    Raises:
        TopicError: the table has no documents, or keeps no text.
        UsageError: it has no column `extra`, or the column holds fractions or lists.
    """
    missing = {"id", "text", "vector"} - set(dataset.schema.names)
    if missing:
        raise TopicError(f"{dataset.uri} has no column {min(missing)!r}: topics need id, text and vector")
    if extra is not None and extra not in dataset.schema.names:
        raise UsageError(f"{dataset.uri} has no column {extra!r}; it has {', '.join(dataset.schema.names)}")
    if extra is not None and not _names_groups(dataset.schema.field(extra).type):
        raise UsageError(f"column {extra!r} of {dataset.uri} is {dataset.schema.field(extra).type}: it names no groups")
    count = dataset.count_rows()
    if count == 0:
        raise TopicError(f"{dataset.uri.removesuffix('.lance')} holds no documents: embed some first")
    columns = [*_columns(dataset, "text"), *([extra] if extra else [])]
    columns = list(dict.fromkeys(columns))
    is_sample = count > limit
    table = take_rows(dataset, _chosen(dataset, limit), columns) if is_sample else dataset.to_table(columns=columns)
    return _ordered(table, extra, is_sample=is_sample)


def read_documents(dataset: LanceDataset, rows: NDArray[np.int64]) -> Documents:
    """The documents at `rows` int64 [n], ascending row numbers, that have a usable vector."""
    return _ordered(take_rows(dataset, rows, _columns(dataset, "text")), None, is_sample=True)


def read_vectors(dataset: LanceDataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], VectorBatch]:
    """Whether each document at `rows` int64 [n] has a usable vector, bool [n], and those documents in this order."""
    table = take_rows(dataset, rows, _columns(dataset))
    usable, vectors = _usable(table)
    kept = table.filter(usable)
    mask = usable.to_numpy(zero_copy_only=False)
    return mask, VectorBatch(_flat(kept.column("id")), vectors, slice_column(kept))


def _names_groups(kind: pa.DataType) -> bool:
    """Whether values of this type can name the group of a document."""
    return not (pa.types.is_nested(kind) or pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind))


def _ordered(table: pa.Table, extra: str | None, *, is_sample: bool) -> Documents:
    usable, vectors = _usable(table)
    if len(vectors) < table.num_rows:
        logger.warning("%d documents without a usable vector are left out", table.num_rows - len(vectors))
    kept = table.filter(usable)
    hashes = string_hashes(kept.column("id"))
    order = np.argsort(hashes, kind="stable")
    # Reordered as Python strings, which counting needs anyway: `take` on Arrow strings ends at 2 GiB of text.
    texts = _texts(kept)
    return Documents(
        ids=_flat(kept.column("id")).take(pa.array(order)),
        hashes=hashes[order],
        vectors=vectors[order],
        slices=slice_column(kept).take(pa.array(order)),
        texts=[texts[row] for row in order],
        is_sample=is_sample,
        extra=kept.column(extra).take(pa.array(order)).to_pylist() if extra else [],
    )


def raw_batches(
    dataset: LanceDataset, fragments: Sequence[int] | None = None, *, with_texts: bool = False
) -> Iterator[pa.RecordBatch]:
    """The rows of some `fragments` (their numbers) or of all, as `usable_documents` takes them."""
    columns = _columns(dataset, *(["text"] if with_texts else []))
    parts = None if fragments is None else [fragment_of(dataset, number) for number in fragments]
    return dataset.scanner(columns=columns, fragments=parts, batch_size=BATCH_ROWS).to_batches()


def usable_documents(batch: pa.RecordBatch) -> VectorBatch:
    """The rows of `batch` that have a finite vector other than zero."""
    usable, vectors = _usable(batch)
    kept = batch if len(vectors) == batch.num_rows else batch.filter(usable)
    return VectorBatch(
        kept.column("id"), vectors, slice_column(kept), kept.column("text") if "text" in kept.schema.names else None
    )


def fragment_of(dataset: LanceDataset, number: int) -> Any:
    """The fragment with this number.

    Raises:
        TopicError: this version of the table has no such fragment.
    """
    fragment = dataset.get_fragment(number)
    if fragment is None:
        raise TopicError(f"{dataset.uri}: version {dataset.version} has no fragment {number}")
    return fragment


def _chosen(dataset: LanceDataset, limit: int) -> NDArray[np.int64]:
    """Row numbers of a sample, ascending; memory holds 20 bytes for each document of the table."""
    columns = ["id", *(["source"] if "source" in dataset.schema.names else [])]
    hashes: list[NDArray[np.uint64]] = []
    sources: list[NDArray[np.int64]] = []
    known = pa.array([], pa.string())
    for batch in dataset.to_batches(columns=columns, batch_size=ID_BATCH_ROWS):
        hashes.append(string_hashes(batch.column("id")))
        if "source" in columns:
            names = batch.column("source").cast(pa.string()).fill_null("")
            known = pa.concat_arrays([known, names]).unique()
            sources.append(pc.index_in(names, value_set=known).to_numpy().astype(np.int64))
    groups = np.concatenate(sources) if sources else None
    return stratified(np.concatenate(hashes), groups, limit)


def stratified(hashes: NDArray[np.uint64], groups: NDArray[np.int64] | None, limit: int) -> NDArray[np.int64]:
    """Choose `limit` of n rows: of each group its share, but at least `MIN_SAMPLED_PER_FILE`; lowest hashes first.

    Args:
        hashes: uint64 [n].
        groups: int64 [n]; None: all rows are one group.
        limit: less than n.

    Returns:
        Positions of the chosen rows, int64 [limit], ascending.
    """
    groups = np.zeros(len(hashes), dtype=np.int64) if groups is None else groups
    order = np.lexsort((hashes, groups))
    sizes = np.bincount(groups)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.arange(len(hashes)) - starts[groups[order]]
    # The position within the group, as a share of its size, takes from all groups evenly. The first rows of each group
    # get a negative value: they come before all others.
    relative = (rank + 0.5) / sizes[groups[order]]
    priority = np.where(rank < MIN_SAMPLED_PER_FILE, rank - float(MIN_SAMPLED_PER_FILE), relative)
    best = np.lexsort((hashes[order], priority))[:limit]
    return np.sort(order[best])


def _columns(dataset: LanceDataset, *more: str) -> list[str]:
    return [*key_columns(dataset), "vector", *more]


def _usable(table: _Table) -> tuple[pa.Array, NDArray[np.float32]]:
    """Whether each row has a finite vector other than zero, bool [n], and those vectors at unit length."""
    column = _flat(table.column("vector"))
    dimension = column.type.list_size
    present = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension).astype(np.float32)
    # One pass is enough: the sum of squares is zero or not finite exactly where a vector cannot be used.
    squares = np.einsum("ij,ij->i", values, values)
    good = np.isfinite(squares) & (squares > 0)
    present[present] = good
    if not good.all():
        values, squares = values[good], squares[good]
    values /= np.sqrt(squares)[:, None]
    return pa.array(present), values


def slice_column(table: _Table) -> pa.Array:
    """The slice that each row came from, int64 [n]; null where the table has no slices."""
    if "slice" in table.schema.names:
        return _flat(table.column("slice"))
    return pa.nulls(len(table.column("id")), pa.int64())


def key_columns(dataset: LanceDataset) -> list[str]:
    """The columns of the table that `keys_of` needs."""
    return ["id", *(["slice"] if "slice" in dataset.schema.names else [])]


def keys_of(batch: pa.RecordBatch) -> NDArray[np.uint64]:
    """The key of each row of a batch of the table (`pipeline.topics.keys`), uint64 [rows]."""
    return document_keys(batch.column("id"), slice_column(batch))


def keys_of_table(dataset: LanceDataset) -> NDArray[np.uint64]:
    """The key of each row of the table, in its order: uint64 [rows]."""
    batches = dataset.to_batches(columns=key_columns(dataset), batch_size=ID_BATCH_ROWS)
    return np.concatenate([np.empty(0, dtype=np.uint64), *(keys_of(batch) for batch in batches)])


def _texts(table: _Table) -> list[str]:
    return [text or "" for text in table.column("text").to_pylist()]


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
