"""The first look at every row: is its vector usable, which vectors are equal, which cells is it in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.table.duplicates.cells import SAMPLE_PER_CELL, cell_count, cells_of, find_centroids
from pipeline.table.duplicates.pairs import EXACT_ROWS
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pipeline.mapper import Mapper
    from pipeline.table.duplicates.vectors import VectorBlocks

__all__ = ["Marked", "marked_rows"]

READ_ROWS: Final = 1 << 16
"""Rows that are put into cells together: 128 MB of 1,024 dimensions in float16."""

BLOCK_ROWS: Final = 8192
"""Rows that are looked at together in float32."""

MAX_SAMPLE: Final = 1 << 17
"""Vectors that centroids are made of: 512 MB of 1,024 dimensions in float32."""


@dataclass(frozen=True, slots=True)
class Marked:
    """The rows with usable vectors, m of those that were read."""

    at: NDArray[np.int64]
    """int64 [m]: their positions among the rows of the table that were looked for."""
    keys: NDArray[np.uint64]
    """uint64 [m]: equal for equal vectors."""
    cells: NDArray[np.int32]
    """int32 [m, cells a row]."""


def marked_rows(blocks: VectorBlocks, rows: NDArray[np.int64], mapper: Mapper, phase: Callable[[str], None]) -> Marked:
    """Look at all of `rows`, numbers that ascend, int64 [n]."""
    count = 1 if len(rows) <= EXACT_ROWS else cell_count(len(rows))
    sample = min(len(rows), SAMPLE_PER_CELL * count, MAX_SAMPLE)
    drawn = np.sort(np.random.default_rng(0).choice(len(rows), sample, replace=False)) if sample else rows
    vectors = blocks.unit(_usable(blocks.stored(rows[drawn]))[1])
    phase(f"finding {counted(count, 'cell')}")
    centroids = find_centroids(vectors, count) if len(vectors) else np.zeros((1, vectors.shape[1]), np.float32)
    phase(f"reading {counted(len(rows), 'vector')}")
    pieces = [(start, rows[start : start + READ_ROWS]) for start in range(0, len(rows), READ_ROWS)]
    parts = sorted(mapper(_Mark(blocks, centroids), pieces), key=lambda part: part[0])
    empty = Marked(np.empty(0, np.int64), np.empty(0, np.uint64), cells_of(vectors[:0], centroids))
    parts = [empty, *(marked for _, marked in parts)]
    return Marked(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("at", "keys", "cells")))


def _usable(stored: NDArray[np.float16]) -> tuple[NDArray[np.bool_], NDArray[np.float16]]:
    """Which vectors are finite and not zero, bool [n], and these."""
    usable = np.logical_and(np.isfinite(stored).all(axis=1), stored.any(axis=1))
    return usable, stored if usable.all() else stored[usable]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Some rows, and the position of the first → the same position, and what of them is usable."""

    blocks: VectorBlocks
    centroids: NDArray[np.float32]

    def __call__(self, piece: tuple[int, NDArray[np.int64]], threads: int) -> tuple[int, Marked]:
        from threadpoolctl import threadpool_limits

        start, rows = piece
        usable, stored = _usable(self.blocks.stored(rows))
        keys = np.empty(len(stored), np.uint64)
        cells = np.empty((len(stored), cells_of(self.centroids[:0], self.centroids).shape[1]), np.int32)
        with threadpool_limits(limits=threads):
            for at in range(0, len(stored), BLOCK_ROWS):
                block = slice(at, at + BLOCK_ROWS)
                keys[block] = _keys(stored[block])
                cells[block] = cells_of(self.blocks.unit(stored[block]), self.centroids)
        return start, Marked(start + np.flatnonzero(usable), keys, cells)


def _keys(stored: NDArray[np.float16]) -> NDArray[np.uint64]:
    """64 bits of each vector, uint64 [n]: its parts times odd random numbers, added up.

    Two vectors that differ have the same with a probability of about 2^-64, of 2^-49 if they differ in signs alone.
    """
    lanes = np.ascontiguousarray(stored).view(np.uint16).astype(np.uint64)
    odd = np.random.default_rng(0).integers(0, 1 << 63, lanes.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    return lanes @ odd
