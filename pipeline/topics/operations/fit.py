"""Fit: read, cluster, match to the last model, assign, name, publish.

Up to the recipe's limit, all documents are clustered, and they keep the topics of the clustering. Of a larger table a
sample is clustered. Every document then goes to its nearest topic or to none, and words are counted over all documents.
A fit saves its clustering before it goes on, so that a run after a crash does not cluster again
(`pipeline.topics.versions.next_version`).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.mapper import in_this_process
from pipeline.topics.clustering.documents import read_sample
from pipeline.topics.clustering.geometry import Assigned, Geometry
from pipeline.topics.clustering.identity import Matching, Overlap, match_topics
from pipeline.topics.clustering.metrics import agreement, diversity, npmi, stability
from pipeline.topics.clustering.recipe import Recipe, cluster, untold
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.assign import assign_documents, assignment_rows
from pipeline.topics.schema import OUTLIER
from pipeline.topics.versions.artefact import Artefact
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.rows import representatives, topic_row
from pipeline.topics.versions.tables import TopicTables, is_of_table
from pipeline.topics.words.counts import Vocabulary
from pipeline.topics.words.keywords import WORDS_PER_TOPIC, WordVectors, keywords

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from pipeline.mapper import Mapper
    from pipeline.table.companions.lease import Lease
    from pipeline.topics.clustering.documents import Documents
    from pipeline.topics.clustering.recipe import RecipeName
    from pipeline.topics.versions.load import Topics
    from pipeline.topics.versions.tables import Located
    from pipeline.topics.words.counts import TermCounts, Weighted
    from pipeline.topics.words.keywords import Embeds, Encodes

__all__ = ["FitOptions", "fit_topics", "fit_version"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FitOptions:
    """Options of a fit that do not change its topics."""

    encoder: Encodes | Embeds | None = None
    """Orders a second list of words by the embedding model; None: c-TF-IDF words only."""
    truth: str | None = None
    """A column that the topics are compared with."""
    with_stability: bool = False
    """Whether to cluster a second time under another seed, and compare."""
    mapper: Mapper = in_this_process
    """Runs the units of the table if only a sample is clustered."""
    drift: Mapping[str, Any] | None = None
    """The figures that led to this fit; recorded with it."""
    phase: Callable[[str], None] = untold
    """Told what the fit is at."""


def fit_topics(
    table: Located | str | os.PathLike[str],
    *,
    recipe: RecipeName = "exact",
    seed: int = 0,
    min_cluster_size: int = 15,
    limit: int = 100_000,
    encoder: Encodes | Embeds | None = None,
    truth: str | None = None,
    with_stability: bool = False,
    mapper: Mapper = in_this_process,
    wait: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
    phase: Callable[[str], None] = untold,
) -> Topics:
    """Fit a new topic model on a table and write it beside the table, as the next version.

    Same table content, seed and library versions: same topics. Topics that go on from the last model keep their ids.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        recipe: how documents are clustered: "exact", "pca" or "evoc" (`pipeline.topics.clustering.recipe`).
        seed: of the random steps.
        min_cluster_size: fewest documents that make a topic.
        limit: the most documents that are clustered. Of a larger table a sample is clustered, in which each input file
            has its share; every document then goes to its nearest centroid or, below that topic's floor, to none.
        encoder: orders a second list of words by the embedding model; None: c-TF-IDF words only.
        truth: a column of the table with known groups; the agreement of topics with it, over the documents that were
            clustered, becomes a metric.
        with_stability: cluster a second time under the next seed; the agreement of both becomes a metric.
        mapper: runs the units of a table above the limit; `pipeline.flow.engines.base` has one for engines.
        wait: up to how many seconds to wait for another change of these topics.
        storage_options: for remote storage, when `table` is a string.
        phase: told what the fit is at.

    Raises:
        TopicError: too few documents, no text, or no topics found.
        TableNotFoundError: no such table.
        LeaseError: these topics are being changed by another process.
        UsageError: a setting with which nothing can be fitted.
    """
    plan = Recipe(name=recipe, seed=seed, min_cluster_size=min_cluster_size, limit=limit)
    tables = TopicTables.of(table, storage_options)
    tables.vectors()
    with topic_lease(tables, wait) as lease:
        return fit_version(tables, lease, plan, FitOptions(encoder, truth, with_stability, mapper, phase=phase))


def fit_version(
    tables: TopicTables, lease: Lease, recipe: Recipe, options: FitOptions, kind: Literal["fit", "refit"] = "fit"
) -> Topics:
    """Fit and publish the next version, under a lease that the caller holds.

    Raises:
        TopicError: as in `fit_topics`.
    """
    params = recipe.params()
    step = NextVersion.begin(tables, lease, kind, params=params, seed=recipe.seed, recipe=recipe.name)
    options.phase("reading documents")
    documents = read_sample(step.dataset, recipe.limit, options.truth)
    fitted = _fitted(step, documents, recipe, options.phase)
    options.phase("assigning documents and counting words")
    counts = _assign(step, fitted, options.mapper)
    step.save(fitted.artefact(counts))
    words = counts.top(WORDS_PER_TOPIC)
    found = _keywords(step, fitted, counts, options)
    options.phase("measuring")
    metrics = _metrics(fitted, words, options)
    return _publish(step, fitted, words, found, metrics, options.drift)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A clustering that is matched to the last model."""

    recipe: Recipe
    """How it was clustered."""
    documents: Documents
    """The n clustered documents."""
    labels: NDArray[np.int64]
    """int64 [n]: cluster of each document, 0..k-1 by falling size; outliers -1."""
    geometry: Geometry
    """The k topics in the order of the clusters, under their final ids."""
    matching: Matching
    """Ids and events of the topics, in the same order."""
    vocabulary: Vocabulary
    """The words of the documents."""

    @property
    def clustered(self) -> NDArray[np.int64]:
        """int64 [n]: the topic id of each document by the clustering."""
        return np.append(self.geometry.ids, OUTLIER)[self.labels]

    def assigned(self) -> Assigned:
        """The assignments of the clustered documents: of a sample by nearest topic, else by the clustering."""
        nearest = self.geometry.assign(self.documents.vectors)
        return nearest if self.documents.is_sample else replace(nearest, topic=self.clustered)

    def artefact(self, counts: TermCounts | None = None) -> Artefact:
        """What the operation saves."""
        return Artefact(self.documents.hashes, self.clustered, self.geometry, self.vocabulary, counts)


def _fitted(step: NextVersion, documents: Documents, recipe: Recipe, phase: Callable[[str], None]) -> _Fitted:
    """Cluster and match, or read what the operation had found in a run that died."""
    found, before = step.artefact(), _topics_before(step, documents)
    if found is not None and np.array_equal(found.hashes, documents.hashes):
        logger.info("going on with the clustering of a fit that did not end")
        # The saved labels are final ids: turn them into positions in the geometry, which is in the order of clusters.
        order = np.argsort(found.geometry.ids)
        inside = found.labels >= 0
        labels = np.full(len(found.labels), OUTLIER, dtype=np.int64)
        labels[inside] = order[np.searchsorted(found.geometry.ids, found.labels[inside], sorter=order)]
        matching = _match(step, before, labels, found.geometry)
        return _Fitted(recipe, documents, labels, found.geometry, matching, found.vocabulary)
    known = _known_topics(before) if step.kind == "refit" else None
    labels = cluster(documents.vectors, recipe, known, phase=phase)
    phase("finding words")
    geometry = Geometry.of(documents.vectors, labels)
    matching = _match(step, before, labels, geometry)
    vocabulary = Vocabulary.of(documents.texts)
    fitted = _Fitted(recipe, documents, labels, geometry.renamed(matching.ids), matching, vocabulary)
    step.save(fitted.artefact())
    return fitted


def _topics_before(step: NextVersion, documents: Documents) -> pa.Array | None:
    """The documents' topics in the last model, int64 [n] (null: unassigned); None: there is no last model."""
    if step.parent is None:
        return None
    found = step.parent.topics_of(documents.ids)
    if is_of_table(step.parent.model, step.dataset):
        return found
    # In another table the same id may be another document: it must also come from the same slice.
    known = Keys.of_rows(step.parent.stream(("id", "slice"))).holds(document_keys(documents.ids, documents.slices))
    return pc.if_else(pa.array(known), found, pa.scalar(None, pa.int64()))


def _known_topics(before: pa.Array | None) -> NDArray[np.int64] | None:
    return None if before is None else before.fill_null(OUTLIER).to_numpy(zero_copy_only=False)


def _match(step: NextVersion, before: pa.Array | None, labels: NDArray[np.int64], geometry: Geometry) -> Matching:
    """Match the clusters to the last model's topics.

    Args:
        step: the fit.
        before: the documents' topics in the last model, int64 [n] (null: unassigned); None: there is no last model.
        labels: the documents' clusters, int64 [n].
        geometry: of the clusters.
    """
    count, parent = len(geometry.ids), step.parent
    if parent is None or before is None:
        none = np.empty(0, dtype=np.int64)
        return match_topics(none, Overlap.of(none, none, none, count), None, unused=0)
    last = parent.geometry()
    shared = before.is_valid().to_numpy(zero_copy_only=False)
    overlap = Overlap.of(before.drop_null().to_numpy(), labels[shared], last.ids, count)
    # Centroids of vectors that mean something else say nothing: the shared documents decide alone.
    cosine = None
    if parent.model.fingerprint == step.fingerprint and last.centroids.shape[1] == geometry.centroids.shape[1]:
        cosine = (last.centroids @ geometry.centroids.T).astype(np.float64)
    return match_topics(last.ids, overlap, cosine, parent.model.unused)


def _assign(step: NextVersion, fitted: _Fitted, mapper: Mapper) -> TermCounts:
    """Write the assignments of all documents; returns their word counts."""
    documents, vocabulary = fitted.documents, fitted.vocabulary
    if documents.is_sample:
        counts = assign_documents(step, fitted.geometry, vocabulary=vocabulary, mapper=mapper)
        return counts if counts is not None else vocabulary.empty(fitted.geometry.ids)
    assigned = fitted.assigned()
    rows = assignment_rows(documents.ids, documents.slices, assigned, step.stamp)
    step.write("topic_assignments", pa.Table.from_batches([rows]))
    return vocabulary.count(documents.texts, assigned.topic, np.append(OUTLIER, np.sort(fitted.geometry.ids)))


def _keywords(step: NextVersion, fitted: _Fitted, counts: TermCounts, options: FitOptions) -> dict[int, Weighted]:
    """Topic → its keywords; empty without an encoder."""
    if options.encoder is None:
        return {}
    options.phase("choosing keywords")
    documents = fitted.documents
    vectors = WordVectors(options.encoder, documents.vectors.shape[1], step.tables.location, step.fingerprint)
    found = keywords(counts, documents.texts, documents.vectors, fitted.assigned().topic, vectors)
    vectors.save()
    return found


def _metrics(fitted: _Fitted, words: Mapping[int, Weighted], options: FitOptions) -> dict[str, float | None]:
    documents = fitted.documents
    listed = [[word for word, _ in words[topic]] for topic in fitted.geometry.ids.tolist()]
    found: dict[str, float | None] = {
        "npmi": npmi(listed, *_occurrences(listed, documents.texts)),
        "diversity": diversity(listed),
    }
    if options.truth is not None:
        found |= agreement(fitted.assigned().topic, documents.extra)
    if options.with_stability:
        again = cluster(documents.vectors, replace(fitted.recipe, seed=fitted.recipe.seed + 1))
        found["stability"] = stability(fitted.labels, again)
    return found


def _occurrences(listed: Sequence[Sequence[str]], texts: Sequence[str]) -> tuple[tuple[str, ...], csr_matrix]:
    """The words of all topics, and how often each of `texts` [n] holds them, int64 [n, words]."""
    words = Vocabulary(tuple(sorted({word for topic in listed for word in topic})))
    return words.words, words.bag(texts)


def _publish(
    step: NextVersion,
    fitted: _Fitted,
    words: Mapping[int, Weighted],
    keywords: Mapping[int, Weighted],
    metrics: Mapping[str, float | None],
    drift: Mapping[str, Any] | None,
) -> Topics:
    documents, geometry, matching = fitted.documents, fitted.geometry, fitted.matching
    sizes = step.sizes()
    examples = representatives(documents.ids, documents.texts, documents.vectors, fitted.labels, geometry.centroids)
    given = step.parent.given_labels() if step.parent else {}
    rows = [
        {
            **topic_row(geometry, index, sizes.get(topic, 0), words[topic], keywords.get(topic, ())),
            "representatives": examples[index],
            **given.get(topic, {}),
        }
        for index, topic in enumerate(geometry.ids.tolist())
    ]
    total = sum(sizes.values())
    outliers = sizes.get(OUTLIER, 0)
    events = [event.to_row() for event in matching.events]
    return step.publish(
        topics=rows,
        events=events,
        documents=total,
        outliers=outliers,
        unused=matching.unused,
        metrics={**metrics, "outlier_rate": outliers / max(total, 1)},
        sampled=len(fitted.labels),
        drift=drift,
    )
