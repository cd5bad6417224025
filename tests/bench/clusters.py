"""Vectors to search in: clusters with noise, in the stored form, the same on every machine and in every block.

A row belongs to a random cluster: a centre, deviations along `RANK` of the directions that all clusters are made of,
and noise in all dimensions, cut into two halves of unit length. One row in a thousand is a near copy of a row of the
first block, at a cosine that is drawn. Blocks have seeds of their own, so that any of them can be made alone; queries
are rows of a block that no table has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from pipeline.embedding.calibration import Halves
from pipeline.embedding.combine import combine, unit
from pipeline.spec import EmbeddingSpec
from pipeline.table import VectorTable

if TYPE_CHECKING:
    from collections.abc import Iterator

ALPHA: Final = 0.5
RANK: Final = 64
DIRECTIONS: Final = 256
SPREAD: Final = 0.5
"""Length of a row's deviation from its centre inside the cluster's directions; the centre's length is 1."""
NOISE: Final = 0.9
"""Length of its deviation in all dimensions. The 1,024 dimensions' raw recall with 5 bits is below .96 with it."""
COPIES: Final = 1000
"""One row in so many is a near copy."""
LEAST_COSINE: Final = 0.98
QUERIES: Final = -1
"""Number of the block that queries come from."""

FILTERS: Final = {"10 %": "tenth", "1 %": "hundredth", ".01 %": "rare"}
"""Columns of which one value passes that share of the rows."""
VALUES: Final = {"tenth": 10, "hundredth": 100, "rare": 10_000}
KEEP: Final = pa.schema([(name, pa.int32()) for name in VALUES])


@dataclass(frozen=True)
class Block:
    """Rows that are next to each other."""

    first: int
    vectors: np.ndarray
    """float32 [n, D], in the stored form."""
    originals: np.ndarray
    """int64: the rows, of all blocks, of which this block's last rows are copies."""

    @property
    def ids(self) -> list[str]:
        return [name_of(row) for row in range(self.first, self.first + len(self.vectors))]

    @property
    def copies(self) -> np.ndarray:
        """int64: the rows that are copies, in the order of `originals`."""
        end = self.first + len(self.vectors)
        return np.arange(end - len(self.originals), end)

    @property
    def metadata(self) -> pa.Table:
        random = np.random.default_rng((1, self.first))
        columns = {name: random.integers(0, count, len(self.vectors)) for name, count in VALUES.items()}
        return pa.table(columns).cast(KEEP)


@dataclass(frozen=True)
class Clusters:
    """Where rows come from: `dim` dimensions, half of them each half's."""

    dim: int = 1024
    clusters: int = 1000
    block: int = 20_000
    seed: int = 0

    @cached_property
    def _directions(self) -> np.ndarray:
        """float32 [DIRECTIONS, dim]: what all clusters are made of."""
        directions = np.random.default_rng((self.seed, 0)).standard_normal((DIRECTIONS, self.dim), np.float32)
        return directions / np.float32(np.sqrt(self.dim))

    @cached_property
    def _centres(self) -> np.ndarray:
        """float32 [clusters, DIRECTIONS], about 1 long."""
        random = np.random.default_rng((self.seed, 1))
        return random.standard_normal((self.clusters, DIRECTIONS), np.float32) / np.float32(np.sqrt(DIRECTIONS))

    @cached_property
    def _own(self) -> np.ndarray:
        """int64 [clusters, RANK]: the directions in which a cluster's rows differ, most along the first."""
        random = np.random.default_rng((self.seed, 4))
        return np.argsort(random.random((self.clusters, DIRECTIONS)), axis=1)[:, :RANK]

    @cached_property
    def _first(self) -> np.ndarray:
        """The first block, of which others hold copies."""
        return self._drawn(0, self.block)

    def queries(self, count: int) -> np.ndarray:
        """float32 [count, D]: of the same clusters, and in no table."""
        return self._drawn(QUERIES, count)

    def blocks(self, rows: int) -> Iterator[Block]:
        """`rows` rows, block by block."""
        for number in range(-(-rows // self.block)):
            yield self.made(number, min(self.block, rows - number * self.block))

    def made(self, number: int, count: int) -> Block:
        """The first `count` rows of a block; its last ones are copies of rows of the first block."""
        if number == 0:
            return Block(0, self._first[:count], np.empty(0, np.int64))
        vectors = self._drawn(number, count)
        random = np.random.default_rng((self.seed, 3, number))
        originals = np.sort(random.choice(self.block, count // COPIES, replace=False))
        cosines = random.uniform(LEAST_COSINE, 1.0, len(originals)).astype(np.float32)
        vectors[count - len(originals) :] = self._near(self._first[originals], cosines, random)
        return Block(number * self.block, vectors, originals)

    def _drawn(self, number: int, count: int) -> np.ndarray:
        random = np.random.default_rng((self.seed, 2, number + 1))
        cluster = random.integers(0, self.clusters, count)
        shares = 1 / np.arange(1, RANK + 1)
        lengths = (SPREAD * np.sqrt(shares / shares.sum())).astype(np.float32)
        places = self._centres[cluster]
        inside = lengths * random.standard_normal((count, RANK), np.float32)
        np.put_along_axis(places, self._own[cluster], np.take_along_axis(places, self._own[cluster], 1) + inside, 1)
        rows = random.standard_normal((count, self.dim), np.float32)
        rows *= NOISE / np.float32(np.sqrt(self.dim))
        rows += places @ self._directions
        return self._stored(rows)

    def _stored(self, rows: np.ndarray) -> np.ndarray:
        half = self.dim // 2
        return combine(Halves(rows[:, :half], rows[:, half:]), "sum", ALPHA)

    def _near(self, rows: np.ndarray, cosines: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows at these cosines from `rows`, in both halves."""
        near = []
        for half in np.split(rows, 2, axis=1):
            direction = unit(half)
            other = random.standard_normal(half.shape, np.float32)
            other = unit(other - (other * direction).sum(axis=1, keepdims=True) * direction)
            near.append(cosines[:, None] * direction + np.sqrt(1 - cosines[:, None] ** 2) * other)
        return self._stored(np.concatenate(near, axis=1))


def name_of(row: int) -> str:
    """A row's id; ids are in the order of rows."""
    return f"d{row:08}"


def create(uri: str, dim: int) -> VectorTable:
    """An empty table for such rows."""
    spec = EmbeddingSpec(model="bench", prompt="none", pooling="last", routing="scores", combine="sum", alpha=ALPHA)
    meaning = {"semantics": 1, "checkpoint": "bench", "tokenizer": "bench"}
    halves = (dim // 2, dim // 2)
    return VectorTable.create(uri, spec=spec, meaning=meaning, halves=halves, keep=KEEP, with_text=False)


def write(uri: str, source: Clusters, rows: int) -> VectorTable:
    """A table of the first `rows` rows; memory holds one block."""
    table = create(uri, source.dim)
    for block in source.blocks(rows):
        table.add(block.ids, block.vectors, metadata=block.metadata)
    return table
