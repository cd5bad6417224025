"""Merging topics: the geometry, the assignments and the row of a topic that others are merged into.

Words: the *target* of a merger goes on under its id; its *parts* are the topics that are merged into it.

The target is measured again over its documents; it is not computed from the centroids of its parts. Documents of a part
get the id of the target. Documents near the target get their similarity to the new centroid, so that a threshold at
reading time holds for it too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.columns import is_in_sorted
from pipeline.topics.clustering.documents import BATCH_ROWS, keys_of_table, read_documents, read_vectors
from pipeline.topics.clustering.geometry import Geometry
from pipeline.topics.clustering.identity import Event
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.assign import assignment_rows
from pipeline.topics.operations.inherited import artefact_of, inherited_rows, parent_of, publish, reworded
from pipeline.topics.operations.tally import TALLY_COLUMNS, Origin, Tally
from pipeline.topics.schema import ASSIGNMENTS
from pipeline.topics.versions.rows import representatives
from pipeline.topics.words.keywords import WORDS_PER_TOPIC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from pipeline.topics.operations.inherited import TopicRow
    from pipeline.topics.versions.load import Topics
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.words.counts import TermCounts

__all__ = ["publish_merger"]

MAX_MEASURED_DOCUMENTS: Final = 20_000
"""Documents over which a target is measured: 80 MB at 1024 dimensions."""


def publish_merger(step: NextVersion, merged_into: Mapping[int, int]) -> Topics:
    """Publish `step`, in which topics are merged.

    Args:
        step: a begun "merge" or "reduce".
        merged_into: part → target, both ids of topics; no target is itself a part.

    Raises:
        TopicError: the artefact of the topics is gone.
    """
    parent, keys = parent_of(step), keys_of_table(step.dataset)
    before, artefact = parent.geometry(), artefact_of(parent)
    affected = _affected(parent, keys, merged_into)
    geometry, examples = _measured(step, before, affected, merged_into)
    batches = list(_reassigned(step, geometry, affected))
    step.write("topic_assignments", pa.Table.from_batches(batches, schema=ASSIGNMENTS))
    labels = _mapped(artefact.labels, merged_into)
    counts = None if artefact.counts is None else artefact.counts.merged(merged_into)
    step.save(replace(artefact, labels=labels, geometry=geometry, counts=counts))
    origin = Origin.of(step.tables, parent.model)
    tally = Tally.of(step.current(TALLY_COLUMNS), geometry, origin, Keys.of([keys]))
    rows = _rows(
        parent, tally.sizes, counts or artefact.vocabulary.empty(geometry.ids), merged_into, geometry, examples
    )
    return publish(step, rows, tally, events=_events(before, merged_into))


@dataclass(frozen=True, slots=True)
class _Affected:
    """Documents whose topic, or nearest topic, is a part or a target."""

    rows: NDArray[np.int64]
    """int64 [n]: row numbers of the table, ascending."""
    topics: NDArray[np.int64]
    """int64 [n]: their topics after the merger."""


def _affected(parent: Topics, keys: NDArray[np.uint64], merged_into: Mapping[int, int]) -> _Affected:
    """Find the affected documents among the assignments, then their rows in the table by the `keys` of all rows."""
    merging = np.array(sorted({*merged_into, *merged_into.values()}))
    found: list[NDArray[np.uint64]] = []
    topics: list[NDArray[np.int64]] = []
    for batch in parent.stream(("id", "slice", "topic", "nearest")):
        topic, nearest = batch.column("topic").to_numpy(), batch.column("nearest").to_numpy()
        near = np.isin(topic, merging) | np.isin(nearest, merging)
        found.append(document_keys(batch.column("id"), batch.column("slice"))[near])
        topics.append(_mapped(topic[near], merged_into))
    affected = np.concatenate([np.empty(0, np.uint64), *found])
    order = np.argsort(affected)
    # Assignments of documents that left the table find no row here, and drop out.
    rows = np.flatnonzero(is_in_sorted(keys, affected[order]))
    at = np.searchsorted(affected[order], keys[rows])
    return _Affected(rows, np.concatenate([np.empty(0, np.int64), *topics])[order][at])


def _mapped(topics: NDArray[np.int64], merged_into: Mapping[int, int]) -> NDArray[np.int64]:
    """`topics` int64 [n] with each part replaced by its target."""
    names, position = np.unique(topics, return_inverse=True)
    return np.array([merged_into.get(name, name) for name in names.tolist()], dtype=np.int64)[position]


def _measured(
    step: NextVersion, before: Geometry, affected: _Affected, merged_into: Mapping[int, int]
) -> tuple[Geometry, dict[int, list[str]]]:
    """The topics that are left, and the most typical documents of each target.

    A target without documents in the table keeps its geometry and its typical documents.
    """
    left = before.at(np.flatnonzero(~np.isin(before.ids, list(merged_into))))
    centroids, median, mad = left.centroids.copy(), left.median.copy(), left.mad.copy()
    examples: dict[int, list[str]] = {}
    for topic in sorted(set(merged_into.values())):
        rows = affected.rows[affected.topics == topic]
        chosen = np.random.default_rng(0).choice(rows, min(len(rows), MAX_MEASURED_DOCUMENTS), replace=False)
        if len(chosen) == 0:
            continue
        documents = read_documents(step.dataset, np.sort(chosen))
        # To `Geometry.of` the target is the only topic, number 0; its results go to the target's row.
        labels, at = np.zeros(len(documents.ids), dtype=np.int64), int(np.searchsorted(left.ids, topic))
        found = Geometry.of(documents.vectors, labels)
        centroids[at], median[at], mad[at] = found.centroids[0], found.median[0], found.mad[0]
        [examples[topic]] = representatives(documents.ids, documents.texts, documents.vectors, labels, found.centroids)
    return Geometry(left.ids, centroids, median, mad), examples


def _reassigned(step: NextVersion, geometry: Geometry, affected: _Affected) -> Iterator[pa.RecordBatch]:
    """Assignments of the affected documents: similarities are measured again, topics follow the merger alone."""
    for start in range(0, len(affected.rows), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        usable, batch = read_vectors(step.dataset, affected.rows[part])
        assigned = replace(geometry.assign(batch.vectors), topic=affected.topics[part][usable])
        yield assignment_rows(batch.ids, batch.slices, assigned, step.stamp)


def _rows(
    parent: Topics,
    sizes: Mapping[int, int],
    counts: TermCounts,
    merged_into: Mapping[int, int],
    geometry: Geometry,
    examples: Mapping[int, list[str]],
) -> list[TopicRow]:
    """Rows of the topics that are left; a target has words of its own, and the best keywords of its parts."""
    rows, words = inherited_rows(parent, sizes, counts), counts.top(WORDS_PER_TOPIC)
    for index, topic in enumerate(geometry.ids.tolist()):
        parts = [part for part, target in merged_into.items() if target == topic]
        if not parts:
            continue
        row = rows[topic]
        # A given label stays; one that was made of words is made again.
        row |= reworded(words.get(topic, ()), with_label=row["label_source"] == "words")
        row |= {"centroid": geometry.centroids[index], "median": geometry.median[index], "mad": geometry.mad[index]}
        row |= {"representatives": examples.get(topic, row["representatives"])}
        row |= _best_keywords([row, *(rows[part] for part in parts)])
    return [row for topic, row in rows.items() if topic not in merged_into]


def _best_keywords(rows: list[TopicRow]) -> TopicRow:
    """The keyword columns of a target: of all keywords of `rows`, those with the largest weights."""
    weights: dict[str, float] = {}
    for row in rows:
        for word, weight in zip(row["keywords"], row["keyword_weights"], strict=True):
            weights[word] = max(weight, weights.get(word, weight))
    best = sorted(weights, key=lambda word: (-weights[word], word))[:WORDS_PER_TOPIC]
    return {"keywords": best, "keyword_weights": [weights[word] for word in best]}


def _events(before: Geometry, merged_into: Mapping[int, int]) -> list[dict[str, Any]]:
    """A "merged" event for each part; its score is the cosine of the two centroids before."""
    position = {topic: row for row, topic in enumerate(before.ids.tolist())}
    cosine = before.centroids @ before.centroids.T
    return [
        Event("merged", topic, target, score=float(cosine[position[topic], position[target]])).to_row()
        for topic, target in sorted(merged_into.items())
    ]
