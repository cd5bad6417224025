"""Fitting topics on a table: read, cluster, name, match to the last model, write.

The clustering is done once; what follows depends on the model that is the latest when it is written, and is redone
if another fit wins the race.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
import pyarrow as pa

from pipeline.errors import CommitError
from pipeline.topics.documents import read_sample, stream_vectors
from pipeline.topics.geometry import OUTLIER, Assigned, Geometry
from pipeline.topics.identity import Matching, jaccard, match_topics
from pipeline.topics.load import Topics
from pipeline.topics.metrics import diversity, npmi, outlier_rate
from pipeline.topics.recipe import Recipe, cluster, library_versions
from pipeline.topics.representation import clean, describe, language_of
from pipeline.topics.schema import ASSIGNMENTS, EVENTS, topics_schema
from pipeline.topics.store import TopicModel, TopicTables

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from lance import LanceDataset
    from numpy.typing import NDArray

    from pipeline.topics.documents import Documents, VectorBatch
    from pipeline.topics.representation import Embeds, Encodes, TopicWords
    from pipeline.topics.store import Located

__all__ = ["Clustering", "cluster_documents", "fit_topics"]

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 5
REPRESENTATIVES: Final = 5
LABEL_WORDS: Final = 4


@dataclass(frozen=True, slots=True)
class Clustering:
    """A fit before it has a version: topics 0..k-1 by falling size; `labels` int64 [n] over `documents`."""

    recipe: Recipe
    documents: Documents
    labels: NDArray[np.int64]
    geometry: Geometry
    words: list[TopicWords]
    representatives: list[list[str]]
    metrics: dict[str, float | None]


def fit_topics(
    table: Located | str | os.PathLike[str],
    *,
    seed: int = 0,
    min_cluster_size: int = 15,
    limit: int = 100_000,
    encoder: Encodes | Embeds | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Topics:
    """Fit a new topic model on a table and write it beside the table, as the next version.

    Same table content, seed and library versions: same topics. Topics that go on from the last model keep their ids.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        seed: of UMAP.
        min_cluster_size: fewest documents that make a topic.
        limit: up to here all documents are clustered; of more, the `limit` lowest id hashes are, and then every
            document goes to its nearest centroid or, below that topic's floor, to none.
        encoder: orders a second list of words by the embedding model; None: c-TF-IDF words only.
        storage_options: for remote storage, when `table` is a string.

    Raises:
        TopicError: too few documents, no text, nothing that belongs together.
        TableNotFoundError: no such table.
        UsageError: a setting with which nothing can be fitted.
    """
    recipe = Recipe(seed=seed, min_cluster_size=min_cluster_size, limit=limit)
    tables = TopicTables.of(table, storage_options)
    dataset = tables.vectors()
    fitted = cluster_documents(read_sample(dataset, recipe.limit), recipe, encoder)
    for _ in range(ATTEMPTS):
        model = _write(tables, dataset, fitted)
        if tables.switch(model):
            tables.sweep(model)
            return Topics(tables, model)
        logger.info("another fit of %s ended first: matching topics to its model", tables.location)
    raise CommitError(f"{tables.location}: other fits ended first {ATTEMPTS} times: run this one alone")


def cluster_documents(documents: Documents, recipe: Recipe, encoder: Encodes | Embeds | None = None) -> Clustering:
    """Cluster, measure and name; writes nothing.

    Raises:
        TopicError: as `fit_topics`.
    """
    labels = cluster(documents.vectors, recipe)
    geometry = Geometry.of(documents.vectors, labels)
    words = describe(documents.texts, documents.vectors, labels, encoder)
    listed = [[word for word, _ in topic.words] for topic in words]
    metrics = {
        "npmi": npmi(listed, clean(documents.texts, language_of(documents.texts))),
        "diversity": diversity(listed),
        "outlier_rate": outlier_rate(labels),
    }
    return Clustering(
        recipe, documents, labels, geometry, words, _representatives(documents, labels, geometry), metrics
    )


def _representatives(documents: Documents, labels: NDArray[np.int64], geometry: Geometry) -> list[list[str]]:
    """Ids of the documents closest to each centroid, no two of them of the same text."""
    chosen: list[list[str]] = []
    for topic, centroid in enumerate(geometry.centroids):
        members = np.flatnonzero(labels == topic)
        ranked = members[np.argsort(-(documents.vectors[members] @ centroid), kind="stable")]
        first: dict[str, int] = {}
        for row in ranked[: 4 * REPRESENTATIVES].tolist():
            first.setdefault(documents.texts[row].strip(), row)
        rows = list(first.values())[:REPRESENTATIVES]
        chosen.append(documents.ids.take(pa.array(rows)).to_pylist())
    return chosen


def _write(tables: TopicTables, dataset: LanceDataset, fitted: Clustering) -> TopicModel:
    """Write everything but the switch, on top of the latest model; the model as it would be."""
    models = tables.models()
    parent = Topics(tables, models[-1]) if models else None
    fingerprint = (dataset.schema.metadata or {}).get(b"moee.fingerprint", b"").decode() or None
    matching = _match(parent, fitted, fingerprint)
    version, token, now = (parent.model.version + 1 if parent else 1), uuid4().hex, datetime.now(UTC)
    sizes = np.zeros(len(matching.ids) + 1, dtype=np.int64)
    batches = _assignments(dataset, fitted, matching.ids, sizes, {"version": version, "model": token})
    tables.append("topic_assignments", pa.RecordBatchReader.from_batches(ASSIGNMENTS, batches))
    stamp = {"version": version, "model": token}
    tables.append("topics", _topic_rows(fitted, matching, sizes, parent, stamp))
    tables.append("topic_events", _event_rows(matching, now, stamp))
    return TopicModel(
        version=version,
        model=token,
        parent=parent.model.version if parent else None,
        created=now,
        recipe=fitted.recipe.params()["recipe"],
        seed=fitted.recipe.seed,
        table_version=dataset.version,
        fingerprint=fingerprint,
        documents=int(sizes.sum()),
        sampled=len(fitted.labels),
        topics=len(matching.ids),
        outliers=int(sizes[-1]),
        unused=matching.unused,
        params=fitted.recipe.params(),
        libraries=library_versions(),
        metrics=fitted.metrics | {"outlier_rate": float(sizes[-1] / sizes.sum())},
    )


def _match(parent: Topics | None, fitted: Clustering, fingerprint: str | None) -> Matching:
    count = len(fitted.words)
    if parent is None:
        return match_topics(np.empty(0, dtype=np.int64), np.empty((0, count)), None, unused=0)
    before = parent.geometry()
    seen = parent.topics_of(fitted.documents.ids)
    shared = seen.is_valid().to_numpy(zero_copy_only=False)
    old = seen.drop_null().to_numpy()
    overlap = jaccard(old, fitted.labels[shared], before.ids, count)
    cosine = None
    if parent.model.fingerprint == fingerprint and before.centroids.shape[1] == fitted.geometry.centroids.shape[1]:
        cosine = (before.centroids @ fitted.geometry.centroids.T).astype(np.float64)
    return match_topics(before.ids, overlap, cosine, parent.model.unused)


def _assignments(
    dataset: LanceDataset,
    fitted: Clustering,
    ids: NDArray[np.int64],
    sizes: NDArray[np.int64],
    stamp: Mapping[str, int | str],
) -> Iterator[pa.RecordBatch]:
    """Rows of `ASSIGNMENTS`; counts into `sizes` int64 [k + 1], outliers last."""
    geometry = fitted.geometry.renamed(np.arange(len(ids)))
    batches: Iterator[VectorBatch] = stream_vectors(dataset) if fitted.documents.is_sample else iter([fitted.documents])
    for batch in batches:
        assigned = geometry.assign(batch.vectors)
        topic = assigned.topic if fitted.documents.is_sample else fitted.labels
        sizes += np.bincount(np.where(topic < 0, len(ids), topic), minlength=len(ids) + 1)
        names = np.append(ids, OUTLIER)
        yield _assignment_rows(
            batch, names[topic], Assigned(topic, names[assigned.nearest], assigned.score, assigned.margin), stamp
        )


def _assignment_rows(
    batch: VectorBatch, topic: NDArray[np.int64], assigned: Assigned, stamp: Mapping[str, int | str]
) -> pa.RecordBatch:
    rows = len(topic)
    columns = {
        "version": pa.repeat(pa.scalar(stamp["version"], pa.int64()), rows),
        "model": pa.repeat(stamp["model"], rows),
        "id": batch.ids.cast(pa.string()),
        "topic": topic,
        "nearest": assigned.nearest,
        "score": assigned.score,
        "margin": assigned.margin,
        "slice": batch.slices,
    }
    return pa.RecordBatch.from_pydict(columns, schema=ASSIGNMENTS)


def _topic_rows(
    fitted: Clustering,
    matching: Matching,
    sizes: NDArray[np.int64],
    parent: Topics | None,
    stamp: Mapping[str, int | str],
) -> pa.Table:
    """Rows of ``NAME.topics``; labels given by hand or by a language model go on with their topic."""
    kept = parent.given_labels() if parent else {}
    geometry = fitted.geometry
    rows = [
        {
            **stamp,
            "topic": topic,
            "status": "active",
            "size": sizes[index],
            "centroid": geometry.centroids[index],
            "median": geometry.median[index],
            "mad": geometry.mad[index],
            "words": [word for word, _ in words.words],
            "weights": [weight for _, weight in words.words],
            "keywords": [word for word, _ in words.keywords],
            "keyword_weights": [weight for _, weight in words.keywords],
            "label": ", ".join(word for word, _ in words.words[:LABEL_WORDS]),
            "label_source": "words",
            "label_locked": False,
            "representatives": fitted.representatives[index],
            **kept.get(topic, {}),
        }
        for index, (topic, words) in enumerate(zip(matching.ids.tolist(), fitted.words, strict=True))
    ]
    return pa.Table.from_pylist(rows, schema=topics_schema(geometry.centroids.shape[1]))


def _event_rows(matching: Matching, now: datetime, stamp: Mapping[str, int | str]) -> pa.Table:
    rows = [
        {**stamp, "event": e.kind, "topic": e.topic, "overlap": e.overlap, "score": e.score, "created": now}
        for e in matching.events
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS)
