"""Reading the table: which documents are clustered and in which order, and all others batch by batch.

Clustered documents come in the order of a hash of the id, so that a fit depends on what the table holds and not on who
wrote it when. Where there are too many, each input file gives its share, lowest hashes first.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import TopicError, UsageError
from pipeline.topics.keys import id_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lance import LanceDataset
    from numpy.typing import NDArray

__all__ = [
    "Documents",
    "VectorBatch",
    "fragment_of",
    "raw_batches",
    "read_documents",
    "read_sample",
    "read_vectors",
    "slices_of",
    "stratified",
    "usable_documents",
]

logger = logging.getLogger(__name__)

BATCH_ROWS: Final = 8192
"""32 MB of 1024 dimensions in float32; larger batches were no faster."""

FEW: Final = 5
"""Documents that each input file gives to a sample, however small its share."""


class _Table(Protocol):
    """A pa.Table or a pa.RecordBatch."""

    @property
    def schema(self) -> pa.Schema: ...
    def column(self, i: str, /) -> pa.Array | pa.ChunkedArray: ...


@dataclass(frozen=True, slots=True)
class VectorBatch:
    """Usable documents: `ids` string [n], unit `vectors` float32 [n, D], `slices` int64 [n] (null: no such column).

    `texts` string [n] (null: none) is None unless asked for.
    """

    ids: pa.Array
    vectors: NDArray[np.float32]
    slices: pa.Array
    texts: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents that are clustered, in hash order: `hashes` uint64 [n] of their ids; `extra` is a column asked for.

    `is_sample`: the table holds more documents than these.
    """

    ids: pa.Array
    hashes: NDArray[np.uint64]
    vectors: NDArray[np.float32]
    slices: pa.Array
    texts: list[str]
    is_sample: bool
    extra: list[Any] = field(default_factory=list)


def read_sample(dataset: LanceDataset, limit: int, extra: str | None = None) -> Documents:
    """Read all documents, or `limit` of them.

    Raises:
        TopicError: the table has no documents, or keeps no text.
        UsageError: it has no column `extra`, or one of fractions or lists.
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
        raise TopicError(f"{dataset.uri} holds no documents: embed some first")
    columns = [*_columns(dataset, "text"), *([extra] if extra else [])]
    columns = list(dict.fromkeys(columns))
    if count > limit:
        table = dataset.take(pa.array(_chosen(dataset, limit)), columns=columns)
    else:
        table = dataset.to_table(columns=columns)
    return _ordered(table, extra, is_sample=count > limit)


def read_documents(dataset: LanceDataset, rows: NDArray[np.int64]) -> Documents:
    """The documents at the row numbers `rows` int64 [n], ascending, that have a usable vector; `is_sample` is set."""
    return _ordered(dataset.take(pa.array(rows), columns=_columns(dataset, "text")), None, is_sample=True)


def read_vectors(dataset: LanceDataset, rows: NDArray[np.int64]) -> tuple[NDArray[np.bool_], VectorBatch]:
    """Which of the documents at `rows` int64 [n] have a usable vector, bool [n], and these, in the order of `rows`."""
    table = dataset.take(pa.array(rows), columns=_columns(dataset))
    usable, vectors = _usable(table)
    kept = table.filter(usable)
    mask = usable.to_numpy(zero_copy_only=False)
    return mask, VectorBatch(_flat(kept.column("id")), vectors, slices_of(kept))


def _names_groups(kind: pa.DataType) -> bool:
    """Whether values of this type can say to which group a document belongs."""
    return not (pa.types.is_nested(kind) or pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind))


def _ordered(table: pa.Table, extra: str | None, *, is_sample: bool) -> Documents:
    usable, vectors = _usable(table)
    if len(vectors) < table.num_rows:
        logger.warning("%d documents without a usable vector are left out", table.num_rows - len(vectors))
    kept = table.filter(usable)
    hashes = id_hashes(kept.column("id"))
    order = np.argsort(hashes, kind="stable")
    # Reordered as Python strings, which counting needs anyway: `take` on Arrow strings ends at 2 GiB of text.
    texts = _texts(kept)
    return Documents(
        ids=_flat(kept.column("id")).take(pa.array(order)),
        hashes=hashes[order],
        vectors=vectors[order],
        slices=slices_of(kept).take(pa.array(order)),
        texts=[texts[row] for row in order],
        is_sample=is_sample,
        extra=kept.column(extra).take(pa.array(order)).to_pylist() if extra else [],
    )


def raw_batches(
    dataset: LanceDataset, fragments: Sequence[int] | None = None, *, with_texts: bool = False
) -> Iterator[pa.RecordBatch]:
    """What `usable_documents` is made from."""
    columns = _columns(dataset, *(["text"] if with_texts else []))
    parts = None if fragments is None else [fragment_of(dataset, number) for number in fragments]
    return dataset.scanner(columns=columns, fragments=parts, batch_size=BATCH_ROWS).to_batches()


def usable_documents(batch: pa.RecordBatch) -> VectorBatch:
    """The rows of `batch` that have a vector, which is finite and not zero; their texts where it has them."""
    usable, vectors = _usable(batch)
    kept = batch if len(vectors) == batch.num_rows else batch.filter(usable)
    return VectorBatch(
        kept.column("id"), vectors, slices_of(kept), kept.column("text") if "text" in kept.schema.names else None
    )


def fragment_of(dataset: LanceDataset, number: int) -> Any:
    """The fragment of this number, which must be there."""
    fragment = dataset.get_fragment(number)
    if fragment is None:
        raise TopicError(f"{dataset.uri}: version {dataset.version} has no fragment {number}")
    return fragment


def _chosen(dataset: LanceDataset, limit: int) -> NDArray[np.int64]:
    """Row numbers of a sample, ascending; 20 bytes a document are all that a table of any size takes here."""
    columns = ["id", *(["source"] if "source" in dataset.schema.names else [])]
    hashes: list[NDArray[np.uint64]] = []
    sources: list[NDArray[np.int64]] = []
    known = pa.array([], pa.string())
    for batch in dataset.to_batches(columns=columns, batch_size=1 << 17):
        hashes.append(id_hashes(batch.column("id")))
        if "source" in columns:
            names = batch.column("source").cast(pa.string()).fill_null("")
            known = pa.concat_arrays([known, names]).unique()
            sources.append(pc.index_in(names, value_set=known).to_numpy().astype(np.int64))
    groups = np.concatenate(sources) if sources else None
    return stratified(np.concatenate(hashes), groups, limit)


def stratified(hashes: NDArray[np.uint64], groups: NDArray[np.int64] | None, limit: int) -> NDArray[np.int64]:
    """Choose `limit` of n rows, ascending: of each group its share, but at least `FEW`; lowest hashes first.

    Args:
        hashes: uint64 [n].
        groups: int64 [n], or None for one group.
        limit: less than n.
    """
    groups = np.zeros(len(hashes), dtype=np.int64) if groups is None else groups
    order = np.lexsort((hashes, groups))
    sizes = np.bincount(groups)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rank = np.arange(len(hashes)) - starts[groups[order]]
    # Ranked by how far into its group a row comes, all groups are used up evenly; the first few come before.
    place = np.where(rank < FEW, rank - float(FEW), (rank + 0.5) / sizes[groups[order]])
    best = np.lexsort((hashes[order], place))[:limit]
    return np.sort(order[best])


def _columns(dataset: LanceDataset, *more: str) -> list[str]:
    return ["id", "vector", *more, *(["slice"] if "slice" in dataset.schema.names else [])]


def _usable(table: _Table) -> tuple[pa.Array, NDArray[np.float32]]:
    """Which rows have a finite vector that is not zero (bool [n]), and those vectors at unit length."""
    column = _flat(table.column("vector"))
    dimension = column.type.list_size
    present = column.is_valid().to_numpy(zero_copy_only=False)
    values = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, dimension).astype(np.float32)
    # One pass tells all: a square sum is zero or not finite where the vector cannot be used.
    squares = np.einsum("ij,ij->i", values, values)
    good = np.isfinite(squares) & (squares > 0)
    present[present] = good
    if not good.all():
        values, squares = values[good], squares[good]
    values /= np.sqrt(squares)[:, None]
    return pa.array(present), values


def slices_of(table: _Table) -> pa.Array:
    """The slice that each row came from, int64 [n]; null where the table has no slices."""
    if "slice" in table.schema.names:
        return _flat(table.column("slice"))
    return pa.nulls(len(table.column("id")), pa.int64())


def _texts(table: _Table) -> list[str]:
    return [text or "" for text in table.column("text").to_pylist()]


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
