"""Near-duplicates of a whole table, step by step.

    marks      is a row's vector usable, which vectors are equal, which cells is each in (`marks`)
    pairs      equal vectors are one; cells are bundled so that a bundle's vectors fit in memory, and compared
    rows       pairs of vectors become pairs or groups of rows

The first two steps are done in pieces by a mapper. Memory holds a bundle for each process, and some 60 bytes for each
row of the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.errors import UsageError
from pipeline.table.duplicates.cells import members_of
from pipeline.table.duplicates.groups import Copies, groups_table, leaders, pairs_table
from pipeline.table.duplicates.marks import marked_rows
from pipeline.table.duplicates.pairs import EXACT_ROWS, Comparison, Pairs, check_pair_count, pair_scores
from pipeline.table.duplicates.vectors import row_numbers
from pipeline.table.fragments.rows import take_rows
from pipeline.table.schema import document_column
from pipeline.table.store import storage_errors
from pipeline.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import lance
    import pyarrow as pa
    from numpy.typing import NDArray

    from pipeline.mapper import Mapper
    from pipeline.table.duplicates.vectors import VectorBlocks

__all__ = ["find_duplicates"]

BUNDLE_ROWS: Final = 1 << 17
"""Rows of a bundle, at most; a larger cell is a bundle of its own."""

BLOCK_ROWS: Final = 8192
"""Rows of groups that are scored together."""


def find_duplicates(
    blocks: VectorBlocks,
    dataset: lance.LanceDataset,
    score: float,
    *,
    where: str | None,
    groups: bool,
    mapper: Mapper,
    phase: Callable[[str], None],
) -> pa.Table:
    """What `VectorTable.duplicates` gives; `where` is SQL, and `phase` is told what is done next.

    Raises:
        UsageError: `score` is not in (0, 1], or there are too many pairs.
        TableError: the table cannot be read.
    """
    if not 0 < score <= 1:
        raise UsageError(f"score={score}: near-duplicates score more than 0 and at most 1")
    phase("looking for rows")
    with storage_errors("read", blocks.location):
        rows = row_numbers(dataset, where)
        documents = _documents(dataset, rows)
    marked = marked_rows(blocks, rows, mapper, phase)
    copies = Copies.of(rows[marked.at], marked.keys, None if documents is None else documents[marked.at])
    cells = marked.cells[np.searchsorted(rows[marked.at], copies.firsts)]
    if len(cells) <= EXACT_ROWS:
        cells = np.zeros((len(cells), 1), np.int32)
    phase(f"comparing {counted(len(cells), 'vector')}")
    found = _compared(blocks, Comparison(score, connected=groups), copies, cells, mapper)
    phase("sorting")
    result = _groups(blocks, dataset, copies, found) if groups else _pairs(dataset, copies, found, score)
    about = {"moee.exact": str(len(cells) <= EXACT_ROWS).lower(), "moee.rows": str(len(copies.rows))}
    return result.replace_schema_metadata(about)


def _documents(dataset: lance.LanceDataset, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The document of each of `rows` as a number, int64 [n]; None where each row is one."""
    column = document_column(dataset.schema)
    if column == "id":
        return None
    named = dataset.to_table(columns=[column]).column(column).combine_chunks().dictionary_encode()
    return named.indices.to_numpy().astype(np.int64)[rows]


@dataclass(frozen=True, slots=True)
class _Bundle:
    """k vectors, and the cells in which they are compared."""

    rows: NDArray[np.int64]
    """int64 [k]: the first row of each vector, ascending."""
    cells: NDArray[np.int32]
    """int32 [k, cells a row]."""
    members: list[tuple[int, NDArray[np.int64]]]
    """Cells to look into, and which of the k vectors are in them."""
    documents: NDArray[np.int64] | None
    """int64 [k]; see `Comparison.pairs`."""


def _bundles(copies: Copies, cells: NDArray[np.int32]) -> Iterator[_Bundle]:
    rows, documents = copies.firsts, copies.common_documents()

    def bundle(members: list[tuple[int, NDArray[np.int64]]]) -> _Bundle:
        held = np.unique(np.concatenate([inside for _, inside in members]))
        found = [(cell, np.searchsorted(held, inside)) for cell, inside in members]
        return _Bundle(rows[held], cells[held], found, None if documents is None else documents[held])

    members: list[tuple[int, NDArray[np.int64]]] = []
    room = BUNDLE_ROWS
    for cell, inside in members_of(cells):
        if members and len(inside) > room:
            yield bundle(members)
            members, room = [], BUNDLE_ROWS
        members.append((cell, inside))
        room -= len(inside)
    if members:
        yield bundle(members)


@dataclass(frozen=True, slots=True)
class _Compare:
    """A bundle → its pairs, by the numbers of their rows."""

    blocks: VectorBlocks
    comparison: Comparison

    def __call__(self, bundle: _Bundle, threads: int) -> Pairs:
        from threadpoolctl import threadpool_limits

        stored = self.blocks.stored(bundle.rows)

        def vectors_at(rows: NDArray[np.int64]) -> NDArray[np.float32]:
            return self.blocks.unit(stored[rows])

        with threadpool_limits(limits=threads):
            found = self.comparison.pairs_in_cells(bundle.cells, bundle.members, vectors_at, bundle.documents)
        return found.among(bundle.rows)


def _compared(
    blocks: VectorBlocks, comparison: Comparison, copies: Copies, cells: NDArray[np.int32], mapper: Mapper
) -> Pairs:
    """All pairs of vectors, by their numbers."""
    parts: list[Pairs] = []
    for part in mapper(_Compare(blocks, comparison), list(_bundles(copies, cells))):
        parts.append(part)
        if not comparison.connected:
            check_pair_count(sum(map(len, parts)), comparison.score)
    found = Pairs.joined(parts)
    return Pairs(np.searchsorted(copies.firsts, found.rows), found.scores)


def _pairs(dataset: lance.LanceDataset, copies: Copies, found: Pairs, score: float) -> pa.Table:
    pairs = copies.pairs(found, score)
    rows, at = np.unique(pairs.rows, return_inverse=True)
    return pairs_table(_ids(dataset, rows), Pairs(at.reshape(-1, 2), pairs.scores))


def _groups(blocks: VectorBlocks, dataset: lance.LanceDataset, copies: Copies, found: Pairs) -> pa.Table:
    groups = copies.groups(found.rows)
    ids = _ids(dataset, groups.rows)
    led = leaders(ids, groups.groups)
    ends = np.stack([groups.vectors, groups.vectors[led]], axis=1)
    scores = np.ones(len(led), np.float32)
    differ = np.flatnonzero(ends[:, 0] != ends[:, 1])
    for start in range(0, len(differ), BLOCK_ROWS):
        block = differ[start : start + BLOCK_ROWS]
        needed, at = np.unique(ends[block], return_inverse=True)
        vectors = blocks.unit(blocks.stored(copies.firsts[needed]))
        scores[block] = pair_scores(vectors, at.reshape(-1, 2))
    return groups_table(ids, led, scores)


def _ids(dataset: lance.LanceDataset, rows: NDArray[np.int64]) -> pa.Array:
    with storage_errors("read", dataset):
        return take_rows(dataset, rows, ["id"]).column("id").combine_chunks()
