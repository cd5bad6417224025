"""Putting all documents of a table into topics, part by part, wherever the parts are worked on.

    units_of            a bundle of the table's fragments each, of some hundred thousand rows
    AssignUnit          one unit → staged assignments and word counts; runs anywhere, in any order, twice if need be
    Mapper              who runs them: `in_this_process`, or Ray tasks (`pipeline.flow.engines.topic_mapper`)
    assign_documents    the driver: commits what comes back, sums the counts

Only documents whose key is not among the assigned ones are touched. A unit is committed as a whole, and its counts are
on disk before; so an operation that died goes on with the units that are missing.
"""

from __future__ import annotations

import json
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import lance
import numpy as np
import pyarrow as pa
from lance.fragment import write_fragments

from pipeline.table.store import create_dataset, storage_errors
from pipeline.topics.clustering.documents import raw_batches, usable_documents
from pipeline.topics.operations.unassigned import any_pending, pending_rows
from pipeline.topics.schema import ASSIGNMENTS
from pipeline.topics.versions.artefact import counts_of_tensors, counts_to_tensors, read_tensors, write_tensors
from pipeline.topics.words.counts import OUTSIDE, Sum

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from pipeline.table.location import TableLocation
    from pipeline.topics.clustering.geometry import Assigned, Geometry
    from pipeline.topics.keys import Keys
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.words.counts import TermCounts, Vocabulary

__all__ = [
    "AssignUnit",
    "Mapper",
    "Part",
    "Unit",
    "assign_documents",
    "assignment_rows",
    "available_cores",
    "in_this_process",
    "units_of",
]

UNIT_ROWS: Final = 1 << 18

Unit = tuple[int, ...]
"""Numbers of fragments."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Part:
    """What a unit came to: `rows` assignments in staged `fragments` (FragmentMetadata as JSON), and their words."""

    rows: int
    fragments: tuple[str, ...] = ()
    counts: TermCounts | None = None


class Work(Protocol):
    """What is done with a unit, on so many threads."""

    def __call__(self, unit: Unit, threads: int, /) -> Part:
        """The unit's part."""
        ...


class Mapper(Protocol):
    """Does `work` with all units, and gives the parts as they come."""

    def __call__(self, work: Work, units: Sequence[Unit], /) -> Iterator[Part]:
        """The parts, in any order."""
        ...


def in_this_process(work: Work, units: Sequence[Unit]) -> Iterator[Part]:
    """One unit after the other, on all cores."""
    for unit in units:
        yield work(unit, available_cores())


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def units_of(dataset: lance.LanceDataset) -> list[Unit]:
    """All fragments, bundled up to `UNIT_ROWS` rows; the same for the same version of the table."""
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
    """Write assignments for all documents of the table that have none yet, and count their words by topic.

    Args:
        step: the operation; its rows are committed as they come.
        geometry: the topics.
        vocabulary: the words to count; None: none.
        mapper: who works on the units.
        settled: the documents to leave alone; None: those that have an assignment.

    Returns:
        Counts over the documents that this operation assigned, in whichever run; a row for outliers among them.
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
    """Assign the pending documents of a unit; all that it needs, so that it can travel."""

    location: TableLocation
    table_version: int
    geometry: Geometry
    version: int
    token: str
    assigned: Keys
    vocabulary: Vocabulary | None = None

    @property
    def topics(self) -> NDArray[np.int64]:
        """int64 [k + 1]: the topics that words are counted for, outliers first."""
        return np.append(OUTSIDE, np.sort(self.geometry.ids))

    def __call__(self, unit: Unit, threads: int = 1) -> Part:
        """Stage the unit's assignments; commits nothing."""
        dataset = self._dataset()
        if not any_pending(dataset, self.assigned, unit):
            return Part(0, counts=self._counted_before(unit))
        count = _Counting(self)
        batches = self._batches(dataset, unit, threads, count)
        first = next(batches, None)
        if first is None:  # what is pending cannot be used
            return Part(0, counts=self._counted_before(unit))
        place = self.location.sibling("topic_assignments")
        reader = pa.RecordBatchReader.from_batches(ASSIGNMENTS, _chain(first, batches))
        with storage_errors("write", place):
            options = dict(place.options) or None
            staged = write_fragments(reader, create_dataset(place, ASSIGNMENTS)[0], storage_options=options)
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
        batch = usable_documents(pending_rows(raw, self.assigned))
        assigned = self.geometry.assign(batch.vectors)
        rows = assignment_rows(batch.ids, batch.slices, assigned, {"version": self.version, "model": self.token})
        if self.vocabulary is None or batch.texts is None:
            return rows, None
        return rows, self.vocabulary.count(batch.texts, assigned.topic, self.topics)

    def _counts_name(self, unit: Unit) -> str:
        return f"{self.token}.{unit[0]}"

    def _counted_before(self, unit: Unit) -> TermCounts | None:
        """The words of a unit that was committed by a run that died."""
        if self.vocabulary is None:
            return None
        tensors = read_tensors(self.location, self._counts_name(unit))
        return None if tensors is None else counts_of_tensors(tensors, self.vocabulary)


class _Counting:
    """Rows and words of a unit as they pass."""

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


def _in_threads(do: Callable[[_Given], _Made], given: Iterable[_Given], threads: int) -> Iterator[_Made]:
    """``map``, with as many calls at once as `threads`, in order, holding no more than these."""
    from threadpoolctl import threadpool_limits

    source = iter(given)
    with threadpool_limits(limits=1), ThreadPoolExecutor(threads) as pool:
        waiting = deque(pool.submit(do, each) for each in islice(source, threads))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(do, each) for each in islice(source, 1))
            yield done


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
