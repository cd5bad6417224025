"""Do the indexes find what exact search finds, how fast, and what is to be changed? Measured on the table's own rows.

Some random rows are the queries, each left out of its own hits. Exact search over all rows, in float32 and one pass,
says which score the last of ten hits must have. A hit that has it is right: among equals any is.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import as_matrix
from pipeline.embedding.combine import query_vector, unit
from pipeline.table.fragments.rows import take_rows
from pipeline.table.indexes.choice import MIN_BYTES
from pipeline.table.indexes.listing import list_indexes
from pipeline.table.schema import SCORE, VECTOR
from pipeline.table.store import storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import lance
    from numpy.typing import NDArray

    from pipeline.spec import EmbeddingSpec
    from pipeline.table.indexes.listing import IndexInfo
    from pipeline.table.location import TableLocation

    Ask = Callable[[NDArray[np.float32], int, float | None, Mapping[str, Any] | None], pa.Table]
    """A vector [D], k, a weight and a condition → the hits, as `VectorTable.search` gives them."""

__all__ = ["Ask", "IndexCheck", "Measured", "check_indexes", "recall"]

HITS: Final = 10
ALPHAS: Final = (0.0, 4.0)
"""Far from the weight of most tables: there an index that was built for another loses most."""
PASSING: Final = 0.01
"""The share of the rows that passes the filter."""
TOLERANCE: Final = 2e-4
"""By which scores of float16 vectors may be off: closer ranks may swap."""
LEAST_RECALL: Final = 0.97
MOST_UNINDEXED: Final = 0.1
"""Beyond this share of the rows the time shows that the others take."""

_SAMPLED_IDS: Final = 10_000
_WARM_UP: Final = 5
_BATCH_ROWS: Final = 8192


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to ask: how much of what exact search finds is found, and how long that takes."""

    name: str
    recall: float
    """The share of exact search's ten best hits that is found."""
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class IndexCheck:
    """What was measured, and what to change."""

    table: str
    rows: int
    vector_bytes: int
    queries: int
    indexes: tuple[IndexInfo, ...]
    measured: tuple[Measured, ...]

    @property
    def vector_index(self) -> IndexInfo | None:
        """None: every row is compared."""
        return next((index for index in self.indexes if index.column == VECTOR and index.is_used), None)

    @property
    def unindexed(self) -> float:
        """The share of the rows that the vector index does not cover: they are compared one by one."""
        index = self.vector_index
        return 1.0 if index is None else index.missing / max(self.rows, 1)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to change, each with what to type; empty: nothing."""
        index, update = self.vector_index, f"moee index {self.table}"
        if index is None and self.vector_bytes >= MIN_BYTES:
            return (f"there is no vector index, and {self.rows:,} rows are worth one: {update}",)
        found: list[str] = []
        if index is not None and self.unindexed > MOST_UNINDEXED:
            found.append(f"{index.missing:,} rows came after the vector index and are compared one by one: {update}")
        elif low := [each.name for each in self.measured if each.recall < LEAST_RECALL]:
            found.append(f"hits are missed ({', '.join(low)}): build the vector index again: {update} --rebuild")
        if index is not None and not any(each.column == "id" for each in self.indexes):
            found.append(f"there is no index on ids, without which filters are slow: {update}")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to ask."""

    name: str
    alpha: float | None = None
    ids: tuple[str, str] | None = None
    """Only ids from the first on, up to the second."""

    @property
    def where(self) -> dict[str, Any] | None:
        return None if self.ids is None else {"id": {"gte": self.ids[0], "lt": self.ids[1]}}


def check_indexes(
    location: TableLocation,
    dataset: lance.LanceDataset,
    spec: EmbeddingSpec,
    hidden: int,
    ask: Ask,
    *,
    queries: int,
    seed: int,
) -> IndexCheck:
    """Measure `ask` against exact search.

    Args:
        location: for messages.
        dataset: the table's newest version.
        spec: the resolved spec of its vectors.
        hidden: H, the size of the hidden state.
        ask: how the table is searched.
        queries: at most so many rows are asked for their neighbours.
        seed: of the draw.

    Raises:
        TableError: the table cannot be read.
    """
    random = np.random.default_rng(seed)
    with storage_errors("check the indexes of", location):
        rows, indexes = dataset.count_rows(), tuple(list_indexes(dataset))
        size = 2 * rows * dataset.schema.field(VECTOR).type.list_size
        if not rows:
            return IndexCheck(str(location), 0, 0, 0, indexes, ())
        asked = _drawn(dataset, random, queries, ["id", VECTOR])
        own, vectors = asked.column("id").combine_chunks(), as_matrix(asked.column(VECTOR)).astype(np.float32)
        ways = _ways(dataset, random, spec)
        least = _least_scores(dataset, own, [_as_asked(vectors, spec, hidden, way) for way in ways], ways)
    measured = tuple(_measure(ask, way, own, vectors, each) for way, each in zip(ways, least, strict=True))
    return IndexCheck(str(location), rows, size, len(own), indexes, measured)


def recall(scores: NDArray[np.float32], best: NDArray[np.float32]) -> float:
    """The share of the best hits that was found.

    Args:
        scores: of the hits.
        best: float32 [10], descending, of exact search; -inf where there are fewer.
    """
    there = int(np.isfinite(best).sum())
    if not there:
        return 1.0
    return min(int((scores >= best[there - 1] - TOLERANCE).sum()), there) / there


def _drawn(dataset: lance.LanceDataset, random: np.random.Generator, count: int, columns: list[str]) -> pa.Table:
    rows = dataset.count_rows()
    return take_rows(dataset, np.sort(random.choice(rows, min(count, rows), replace=False)), columns)


def _ways(dataset: lance.LanceDataset, random: np.random.Generator, spec: EmbeddingSpec) -> list[_Way]:
    """A range of ids is the filter: every table has them, and an index on them."""
    ids = _drawn(dataset, random, _SAMPLED_IDS, ["id"]).sort_by("id").column("id")
    wide = max(round(PASSING * len(ids)), 1)
    first = int(random.integers(0, max(len(ids) - wide, 1)))
    between = (str(ids[first]), str(ids[min(first + wide, len(ids) - 1)]))
    others = [_Way(f"alpha {alpha:g}", alpha) for alpha in ALPHAS] if spec.combine == "sum" else []
    return [_Way("plain"), _Way(f"filter of {PASSING:.0%}", ids=between), *others]


def _as_asked(vectors: NDArray[np.float32], spec: EmbeddingSpec, hidden: int, way: _Way) -> NDArray[np.float32]:
    """float32 [q, D]: of which the dot product with a unit vector is the score."""
    asked = [query_vector(vector, spec.combine or "sum", hidden, spec.alpha, way.alpha) for vector in vectors]
    return np.stack([query.scale * query.vector for query in asked]).astype(np.float32)


def _least_scores(
    dataset: lance.LanceDataset, own: pa.Array, asked: list[NDArray[np.float32]], ways: list[_Way]
) -> list[NDArray[np.float32]]:
    """The ten best scores of each query, for each way, float32 [q, 10], descending: exact search in one pass."""
    best = [np.full((len(own), HITS), -np.inf, np.float32) for _ in ways]
    for batch in dataset.to_batches(columns=["id", VECTOR], batch_size=_BATCH_ROWS):
        ids, vectors = batch.column("id"), unit(as_matrix(batch.column(VECTOR)).astype(np.float32))
        queries = pc.index_in(ids, value_set=own)
        themselves = np.flatnonzero(queries.is_valid())
        for at, way in enumerate(ways):
            scores = asked[at] @ vectors.T
            scores[queries.drop_null().to_numpy(), themselves] = -np.inf
            if way.ids is not None:
                passes = pc.and_(pc.greater_equal(ids, way.ids[0]), pc.less(ids, way.ids[1]))
                scores[:, ~passes.to_numpy(zero_copy_only=False)] = -np.inf
            both = np.concatenate([best[at], scores], axis=1)
            best[at] = -np.sort(-np.partition(both, -HITS, axis=1)[:, -HITS:], axis=1)
    return best


def _measure(ask: Ask, way: _Way, own: pa.Array, vectors: NDArray[np.float32], best: NDArray[np.float32]) -> Measured:
    """Ask for every row's neighbours; some are asked first, so that what is cached does not count."""
    for vector in vectors[:_WARM_UP]:
        ask(vector, HITS + 1, way.alpha, way.where)
    seconds: list[float] = []
    found: list[float] = []
    for name, vector, wanted in zip(own, vectors, best, strict=True):
        began = time.perf_counter()
        hits = ask(vector, HITS + 1, way.alpha, way.where)
        seconds.append(time.perf_counter() - began)
        others = hits.filter(pc.not_equal(hits.column("id"), name)).slice(0, HITS)
        found.append(recall(others.column(SCORE).to_numpy(), wanted))
    p50, p95 = (1000 * float(np.quantile(seconds, share)) for share in (0.5, 0.95))
    return Measured(way.name, float(np.mean(found)), p50, p95)
