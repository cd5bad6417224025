"""Assigning all documents of a table to topics, unit by unit.

    units_of            splits the table into units: bundles of fragments with some hundred thousand rows
    AssignUnit          one unit → staged assignments and word counts; runs anywhere, in any order, and may run twice
    Mapper              runs all units (`pipeline.mapper`)
    assign_documents    the driver: commits the results, and sums the counts

Only unassigned documents are assigned. A unit is committed as a whole, and its counts are on disk before. So an
operation that died goes on with the units that are missing.
"""

from __future__ import annotations

import json
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import lance
import numpy as np
import pyarrow as pa
from lance.fragment import write_fragments

from pipeline.columns import aligned_batches
from pipeline.mapper import in_this_process
from pipeline.table.store import create_dataset, storage_errors
from pipeline.topics.clustering.documents import raw_batches, usable_documents
from pipeline.topics.operations.unassigned import has_unassigned, unassigned_rows
from pipeline.topics.schema import ASSIGNMENTS, OUTLIER
from pipeline.topics.tensors import read_tensors, write_tensors
from pipeline.topics.versions.artefact import counts_of_tensors, counts_to_tensors
from pipeline.topics.words.counts import Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from pipeline.mapper import Mapper
    from pipeline.table.location import TableLocation
    from pipeline.topics.clustering.geometry import Assigned, Geometry
    from pipeline.topics.keys import Keys
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.words.counts import TermCounts, Vocabulary

__all__ = [
    "AssignUnit",
    "Part",
    "Unit",
    "assign_documents",
    "assignment_rows",
    "units_of",
]

UNIT_ROWS: Final = 1 << 18
"""Rows of a unit, at most; a larger fragment is a unit of its own."""

Unit = tuple[int, ...]
"""Numbers of the fragments that are assigned together; not the work unit of reading."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Part:
    """The result of a unit."""

    rows: int
    """Assignments that were staged."""
    fragments: tuple[str, ...] = ()
    """The staged fragments that hold them (Lance's FragmentMetadata as JSON)."""
    counts: TermCounts | None = None
    """The words of the unit's documents; None: words are not counted."""


def units_of(dataset: lance.LanceDataset) -> list[Unit]:
    """All fragments in bundles of up to `UNIT_ROWS` rows; the same for the same version of the table."""
    units: list[list[int]] = []
    room = 0
    for fragment in dataset.get_fragments():
        rows = fragment.count_rows()
        if rows > room:
            units.append([])
            room = UNIT_ROWS
        units[-1].append(fragment.fragment_id)
        room -= rows
    return [tuple(unit) for unit in units]


def assign_documents(
    step: NextVersion,
    geometry: Geometry,
    *,
    vocabulary: Vocabulary | None = None,
    mapper: Mapper = in_this_process,
    settled: Keys | None = None,
) -> TermCounts | None:
    """Assign all unassigned documents of the table, and count their words by topic.

    Args:
        step: the operation; results of units are committed as they come.
        geometry: the topics.
        vocabulary: the words to count; None: words are not counted.
        mapper: runs the units.
        settled: the documents that are not assigned again; None: those that have an assignment.

    Returns:
        Word counts of the documents that the operation assigned, also in runs that died; with a row for outliers.
    """
    work = AssignUnit(
        location=step.tables.location,
        table_version=step.dataset.version,
        geometry=geometry,
        version=step.version,
        token=step.token,
        assigned=step.assigned() if settled is None else settled,
        vocabulary=vocabulary,
    )
    total = None if vocabulary is None else vocabulary.empty(work.topics)
    for part in mapper(work, units_of(step.dataset)):
        if part.fragments:
            step.commit(part.fragments)
        if part.counts is not None:
            total = part.counts if total is None else total + part.counts
    return total


@dataclass(frozen=True, slots=True)
class AssignUnit:
    """Assigns the unassigned documents of a unit; holds all that a worker needs."""

    location: TableLocation
    """The vector table."""
    table_version: int
    """The version of it that is read."""
    geometry: Geometry
    """The topics."""
    version: int
    """The version that the operation writes."""
    token: str
    """The operation's."""
    assigned: Keys
    """The documents that are not assigned again."""
    vocabulary: Vocabulary | None = None
    """The words to count; None: words are not counted."""

    @property
    def topics(self) -> NDArray[np.int64]:
        """int64 [k + 1]: the topics that words are counted for, ascending, outliers first."""
        return np.append(OUTLIER, np.sort(self.geometry.ids))

    def __call__(self, unit: Unit, threads: int = 1) -> Part:
        """Stage the unit's assignments; commits nothing."""
        dataset = self._dataset()
        if not has_unassigned(dataset, self.assigned, unit):
            return Part(0, counts=self._counted_before(unit))
        count = _Counting(self)
        batches = self._batches(dataset, unit, threads, count)
        first = next(batches, None)
        if first is None:  # no unassigned document has a usable vector
            return Part(0, counts=self._counted_before(unit))
        target = self.location.sibling("topic_assignments")
        rows = aligned_batches(ASSIGNMENTS, chain([first], batches))
        with storage_errors("write", target):
            options = dict(target.options) or None
            staged = write_fragments(rows, create_dataset(target, ASSIGNMENTS)[0], storage_options=options)
        # Before the driver commits the rows: a committed unit is never counted again.
        counts = count.total
        if counts is not None:
            write_tensors(self.location, self._counts_name(unit), counts_to_tensors(counts))
        return Part(count.rows, tuple(json.dumps(each.to_json()) for each in staged), counts)

    def _dataset(self) -> lance.LanceDataset:
        with storage_errors("read", self.location):
            options = dict(self.location.options) or None
            return lance.dataset(self.location.uri, version=self.table_version, storage_options=options)

    def _batches(
        self, dataset: lance.LanceDataset, unit: Unit, threads: int, count: _Counting
    ) -> Iterator[pa.RecordBatch]:
        batches = raw_batches(dataset, unit, with_texts=self.vocabulary is not None)
        for rows, counts in _in_threads(self._assigned, batches, threads):
            if rows.num_rows:
                count.add(rows.num_rows, counts)
                yield rows

    def _assigned(self, raw: pa.RecordBatch) -> tuple[pa.RecordBatch, TermCounts | None]:
        batch = usable_documents(unassigned_rows(raw, self.assigned))
        assigned = self.geometry.assign(batch.vectors)
        rows = assignment_rows(batch.ids, batch.slices, assigned, {"version": self.version, "model": self.token})
        if self.vocabulary is None or batch.texts is None:
            return rows, None
        return rows, self.vocabulary.count(batch.texts, assigned.topic, self.topics)

    def _counts_name(self, unit: Unit) -> str:
        return f"{self.token}.{unit[0]}"

    def _counted_before(self, unit: Unit) -> TermCounts | None:
        """The word counts of a unit that a run that died had committed."""
        if self.vocabulary is None:
            return None
        tensors = read_tensors(self.location, self._counts_name(unit))
        return None if tensors is None else counts_of_tensors(tensors, self.vocabulary)


class _Counting:
    """Counts rows and words of a unit as its batches pass."""

    def __init__(self, work: AssignUnit) -> None:
        self.rows = 0
        self._zero = None if work.vocabulary is None else work.vocabulary.empty(work.topics)
        self._sum = None if self._zero is None else Sum(self._zero.matrix)

    def add(self, rows: int, counts: TermCounts | None) -> None:
        self.rows += rows
        if counts is not None and self._sum is not None:
            self._sum.add(counts.matrix)

    @property
    def total(self) -> TermCounts | None:
        return None if self._zero is None or self._sum is None else replace(self._zero, matrix=self._sum.value)


def assignment_rows(ids: pa.Array, slices: pa.Array, assigned: Assigned, stamp: dict[str, Any]) -> pa.RecordBatch:
    """Rows of `ASSIGNMENTS` for n documents."""
    rows = len(assigned.topic)
    columns = {
        "version": pa.repeat(pa.scalar(stamp["version"], pa.int64()), rows),
        "model": pa.repeat(stamp["model"], rows),
        "id": ids.cast(pa.string()),
        "topic": assigned.topic,
        "nearest": assigned.nearest,
        "score": assigned.score,
        "margin": assigned.margin,
        "slice": slices,
    }
    return pa.RecordBatch.from_pydict(columns, schema=ASSIGNMENTS)


def _in_threads(do: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Iterator[_Result]:
    """``map`` in `threads` threads: results in order, up to `threads` of them held at a time."""
    from threadpoolctl import threadpool_limits

    source = iter(items)
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(do, each) for each in islice(source, threads))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(do, each) for each in islice(source, 1))
            yield done
