"""Several topics become one: where it lies, what its documents' assignments are then, and what it is called.

The place of a merged topic is measured over its documents, not made from the places of its parts. Documents keep the
topic that they had, under its new id; those near the merged topic get their similarity to it, so that a threshold at
reading time holds for it too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.topics.clustering.documents import BATCH_ROWS, read_documents, read_vectors
from pipeline.topics.clustering.geometry import Geometry
from pipeline.topics.clustering.identity import Event
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.assign import assignment_rows
from pipeline.topics.operations.inherited import artefact_of, carried_rows, parent_of, publish, reworded
from pipeline.topics.operations.tally import CENSUS_COLUMNS, Census, Origin, keys_of_table
from pipeline.topics.schema import ASSIGNMENTS
from pipeline.topics.versions.rows import representatives
from pipeline.topics.words.keywords import WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from pipeline.topics.operations.inherited import TopicRow
    from pipeline.topics.versions.load import Topics
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.words.counts import TermCounts

__all__ = ["regroup"]

MEASURED: Final = 20_000
"""Documents over which a merged topic's place is measured: 80 MB at 1024 dimensions."""


def regroup(step: NextVersion, onto: Mapping[int, int]) -> Topics:
    """Publish `step`, in which topics are merged.

    Args:
        step: a begun "merge" or "reduce".
        onto: id of a topic → id of the other topic that it becomes a part of; that one is not in it.

    Raises:
        TopicError: the artefact of the topics is gone.
    """
    parent, keys = parent_of(step), keys_of_table(step.dataset)
    before, artefact = parent.geometry(), artefact_of(parent)
    touched = _touched(parent, keys, onto)
    geometry, examples = _measured(step, before, touched, onto)
    batches = list(_rewritten(step, geometry, touched))
    step.write("topic_assignments", pa.Table.from_batches(batches, schema=ASSIGNMENTS))
    labels = _mapped(artefact.labels, onto)
    counts = None if artefact.counts is None else artefact.counts.regrouped(onto)
    step.save(replace(artefact, labels=labels, geometry=geometry, counts=counts))
    origin = Origin.of(step.tables, parent.model)
    census = Census.of(step.current(CENSUS_COLUMNS), geometry, origin, Keys.of([keys]))
    rows = _rows(parent, census.sizes, counts or artefact.vocabulary.empty(geometry.ids), onto, geometry, examples)
    return publish(step, rows, census, events=_events(before, onto))


@dataclass(frozen=True, slots=True)
class _Touched:
    """Documents of the table in or near merged topics: row numbers int64 [n], ascending, and their `topics` then."""

    rows: NDArray[np.int64]
    topics: NDArray[np.int64]


def _touched(parent: Topics, keys: NDArray[np.uint64], onto: Mapping[int, int]) -> _Touched:
    group = np.array(sorted({*onto, *onto.values()}))
    found: list[NDArray[np.uint64]] = []
    topics: list[NDArray[np.int64]] = []
    for batch in parent.stream(("id", "slice", "topic", "nearest")):
        topic, nearest = batch.column("topic").to_numpy(), batch.column("nearest").to_numpy()
        near = np.isin(topic, group) | np.isin(nearest, group)
        found.append(document_keys(batch.column("id"), batch.column("slice"))[near])
        topics.append(_mapped(topic[near], onto))
    named = np.concatenate([np.empty(0, np.uint64), *found])
    order = np.argsort(named)
    rows = np.flatnonzero(Keys(named[order]).holds(keys))
    at = np.searchsorted(named[order], keys[rows])
    return _Touched(rows, np.concatenate([np.empty(0, np.int64), *topics])[order][at])


def _mapped(topics: NDArray[np.int64], onto: Mapping[int, int]) -> NDArray[np.int64]:
    names, place = np.unique(topics, return_inverse=True)
    return np.array([onto.get(name, name) for name in names.tolist()], dtype=np.int64)[place]


def _measured(
    step: NextVersion, before: Geometry, touched: _Touched, onto: Mapping[int, int]
) -> tuple[Geometry, dict[int, list[str]]]:
    """The topics that are left, and the most typical documents of merged ones; without documents as they were."""
    left = before.at(np.flatnonzero(~np.isin(before.ids, list(onto))))
    centroids, median, mad = left.centroids.copy(), left.median.copy(), left.mad.copy()
    examples: dict[int, list[str]] = {}
    for topic in sorted(set(onto.values())):
        rows = touched.rows[touched.topics == topic]
        chosen = np.random.default_rng(0).choice(rows, min(len(rows), MEASURED), replace=False)
        if len(chosen) == 0:
            continue
        documents = read_documents(step.dataset, np.sort(chosen))
        labels, at = np.zeros(len(documents.ids), dtype=np.int64), int(np.searchsorted(left.ids, topic))
        found = Geometry.of(documents.vectors, labels)
        centroids[at], median[at], mad[at] = found.centroids[0], found.median[0], found.mad[0]
        [examples[topic]] = representatives(documents.ids, documents.texts, documents.vectors, labels, found.centroids)
    return Geometry(left.ids, centroids, median, mad), examples


def _rewritten(step: NextVersion, geometry: Geometry, touched: _Touched) -> Iterator[pa.RecordBatch]:
    """Assignments of the touched documents: their topic as it was, the rest measured anew."""
    for start in range(0, len(touched.rows), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        usable, batch = read_vectors(step.dataset, touched.rows[part])
        assigned = replace(geometry.assign(batch.vectors), topic=touched.topics[part][usable])
        yield assignment_rows(batch.ids, batch.slices, assigned, step.stamp)


def _rows(
    parent: Topics,
    sizes: Mapping[int, int],
    counts: TermCounts,
    onto: Mapping[int, int],
    geometry: Geometry,
    examples: Mapping[int, list[str]],
) -> list[TopicRow]:
    """Rows of the topics that are left; a merged one has words of its own, and the best keywords of its parts."""
    rows, words = carried_rows(parent, sizes, counts), counts.top(WORDS)
    for index, topic in enumerate(geometry.ids.tolist()):
        parts = [part for part, target in onto.items() if target == topic]
        if not parts:
            continue
        row = rows[topic]
        row |= reworded(words.get(topic, ()), with_label=row["label_source"] == "words")
        row |= {"centroid": geometry.centroids[index], "median": geometry.median[index], "mad": geometry.mad[index]}
        row |= {"representatives": examples.get(topic, row["representatives"])}
        row |= _best_keywords([row, *(rows[part] for part in parts)])
    return [row for topic, row in rows.items() if topic not in onto]


def _best_keywords(rows: list[TopicRow]) -> TopicRow:
    weights: dict[str, float] = {}
    for row in rows:
        for word, weight in zip(row["keywords"], row["keyword_weights"], strict=True):
            weights[word] = max(weight, weights.get(word, weight))
    best = sorted(weights, key=lambda word: (-weights[word], word))[:WORDS]
    return {"keywords": best, "keyword_weights": [weights[word] for word in best]}


def _events(before: Geometry, onto: Mapping[int, int]) -> list[dict[str, Any]]:
    place = {topic: row for row, topic in enumerate(before.ids.tolist())}
    near = before.centroids @ before.centroids.T
    return [
        Event("merged", topic, target, score=float(near[place[topic], place[target]])).to_row()
        for topic, target in sorted(onto.items())
    ]
