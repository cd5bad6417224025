"""Topics that the fit did not know, found among the documents that were added since.

The added documents are clustered, all of them: where an old topic lies near, most documents of a new subject are not
rejected. A cluster is a new topic if its centre lies no nearer to any old topic than old topics lie to each other, or
if the nearest one would reject it. Its place is then measured over the documents that it wins from the old ones, and
the added documents are assigned anew, old and new topics competing. Documents of the fit stay where they are.

Measured on the 20 Newsgroups (fit on 12 groups, 8 groups added with 10 % of the others held out; four runs): of the
new groups' documents fewer than 40 % are rejected by the old topics, but 84 to 87 % end outside them, a seventh of
these in none; of the held-out ones 11 to 17 % end in none and 4 to 8 % in new topics, where 11 to 16 % of the fitted
documents are in none by the same rule. Clustering the rejects alone reached 74 to 77 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.errors import TopicError
from pipeline.topics.clustering.documents import read_documents
from pipeline.topics.clustering.geometry import OUTLIER, Geometry
from pipeline.topics.clustering.identity import Event
from pipeline.topics.clustering.recipe import cluster
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.assign import assign_documents
from pipeline.topics.operations.inherited import artefact_of, carried_rows, merged_since, parent_of, publish
from pipeline.topics.operations.tally import CENSUS_COLUMNS, Census, keys_of_table
from pipeline.topics.versions.load import Topics
from pipeline.topics.versions.rows import representatives, topic_row
from pipeline.topics.words.keywords import WORDS, WordVectors, keywords

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pipeline.topics.clustering.documents import Documents
    from pipeline.topics.clustering.recipe import Recipe
    from pipeline.topics.operations.assign import Mapper
    from pipeline.topics.operations.drift import Drift
    from pipeline.topics.operations.inherited import TopicRow
    from pipeline.topics.operations.tally import Origin
    from pipeline.topics.versions.artefact import Artefact
    from pipeline.topics.versions.next_version import NextVersion
    from pipeline.topics.words.counts import TermCounts, Vocabulary, Weighted
    from pipeline.topics.words.keywords import Embeds, Encodes

__all__ = ["bear_topics", "find_births", "likeness"]

ALIKE: Final = 90
"""Not the largest similarity, because among many topics two may be near copies."""


def find_births(old: Geometry, vectors: NDArray[np.float32], recipe: Recipe) -> Geometry:
    """Topics that lie in unit `vectors` float32 [n, D] and are none of `old`; ids 0..k-1, k may be 0."""
    try:
        labels = cluster(vectors, recipe)
    except TopicError:
        return _nothing(old)
    found = Geometry.of(vectors, labels)
    near = old.assign(found.centroids)
    fresh = (near.score < likeness(old)) | (near.topic == OUTLIER)
    if not fresh.any():
        return _nothing(old)
    born = found.at(np.flatnonzero(fresh))
    rivals = old.renamed(np.full(len(old.ids), OUTLIER)) + born.renamed(np.arange(len(born.ids)))
    topics = rivals.assign(vectors).topic
    kept = np.bincount(topics[topics >= 0], minlength=len(born.ids)) >= recipe.min_cluster_size
    if not kept.any():
        return _nothing(old)
    return Geometry.of(vectors, np.append(np.where(kept, np.cumsum(kept) - 1, OUTLIER), OUTLIER)[topics])


def likeness(topics: Geometry) -> float:
    """How near topics lie to each other: a percentile of the cosines of each centroid with its nearest other."""
    if len(topics.ids) < 2:
        return -1.0
    similarity = topics.centroids @ topics.centroids.T
    np.fill_diagonal(similarity, -1)
    return float(np.percentile(similarity.max(axis=1), ALIKE))


def _nothing(like: Geometry) -> Geometry:
    return like.at(np.empty(0, dtype=np.intp))


@dataclass(frozen=True, slots=True)
class _Births:
    """Old and new topics in one `geometry`, the ids that were `born`, and the documents that they were found in."""

    geometry: Geometry
    vocabulary: Vocabulary
    born: NDArray[np.int64]
    documents: Documents


def bear_topics(
    step: NextVersion, origin: Origin, recipe: Recipe, encoder: Encodes | Embeds | None, mapper: Mapper
) -> tuple[Topics, Drift]:
    """Cluster the documents added since the fit, and publish the topics that are born, of which there may be none.

    Args:
        step: a begun "births".
        origin: of its line.
        recipe: how to cluster; `limit` bounds the sample of the added documents.
        encoder: orders keywords of the new topics; None: they have none.
        mapper: works on the table's parts.

    Returns:
        The topics, and how far the table has drifted from them.

    Raises:
        TopicError: the artefact of the topics is gone.
    """
    keys, before = keys_of_table(step.dataset), artefact_of(parent_of(step))
    sample = _sample(keys, origin.fitted, recipe.limit)
    births = _find(step, before, read_documents(step.dataset, sample), recipe)
    counts = _assign(step, births, origin, mapper)
    step.save(replace(before, geometry=births.geometry, vocabulary=births.vocabulary, counts=counts))
    after = replace(origin, clustered=step.version)
    census = Census.of(step.current(CENSUS_COLUMNS), births.geometry, after, Keys.of([keys]))
    rows = [
        *carried_rows(parent_of(step), census.sizes, counts).values(),
        *_rows(step, births, counts, census, encoder),
    ]
    events = [Event("born", topic).to_row() for topic in births.born.tolist()]
    unused, drift = parent_of(step).model.unused + len(births.born), census.drift()
    return publish(step, rows, census, events=events, unused=unused, drift=drift.to_json()), drift


def _sample(keys: NDArray[np.uint64], fitted: Keys, limit: int) -> NDArray[np.int64]:
    """Row numbers of the added documents, or of `limit` of them, ascending."""
    rows = np.flatnonzero(~fitted.holds(keys))
    return rows if len(rows) <= limit else np.sort(rows[np.argpartition(keys[rows], limit)[:limit]])


def _find(step: NextVersion, before: Artefact, documents: Documents, recipe: Recipe) -> _Births:
    """Find the topics, or take up what this very operation had found when it died."""
    saved, unused = step.artefact(), parent_of(step).model.unused
    if saved is None:
        old = parent_of(step).geometry()
        born = find_births(old, documents.vectors, recipe)
        union = old + born.renamed(unused + np.arange(len(born.ids)))
        saved = replace(before, geometry=union, vocabulary=before.vocabulary.extended(documents.texts), counts=None)
        step.save(saved)
    ids = saved.geometry.ids
    return _Births(saved.geometry, saved.vocabulary, ids[ids >= unused], documents)


def _assign(step: NextVersion, births: _Births, origin: Origin, mapper: Mapper) -> TermCounts:
    """Assign all added documents anew; the word counts of all documents."""
    written = step.written(["id", "slice"])
    done = document_keys(written.column("id"), written.column("slice"))
    settled = Keys.of([origin.fitted.values, done])
    added = assign_documents(step, births.geometry, vocabulary=births.vocabulary, mapper=mapper, settled=settled)
    onto = merged_since(step.tables, origin.base, parent_of(step).model)
    fitted = artefact_of(Topics(step.tables, origin.base)).counts
    topics = np.append(OUTLIER, np.sort(births.geometry.ids))
    counts = births.vocabulary.empty(topics)
    for part in (fitted.regrouped(onto) if fitted else None, added):
        counts = counts if part is None else counts + part.over(topics, births.vocabulary)
    return counts


def _rows(
    step: NextVersion, births: _Births, counts: TermCounts, census: Census, encoder: Encodes | Embeds | None
) -> list[TopicRow]:
    """Rows of the topics that were born."""
    if len(births.born) == 0:
        return []
    documents, geometry = births.documents, births.geometry
    topics = geometry.assign(documents.vectors).topic
    found: dict[int, Weighted] = {}
    if encoder is not None:
        vectors = WordVectors(encoder, documents.vectors.shape[1], step.tables.location, step.fingerprint)
        found = keywords(counts, documents.texts, documents.vectors, topics, vectors)
        vectors.save()
    words, first = counts.top(WORDS), len(geometry.ids) - len(births.born)
    labels = topics - births.born[0]  # of no topic that was born: negative
    examples = representatives(documents.ids, documents.texts, documents.vectors, labels, geometry.centroids[first:])
    return [
        {
            **topic_row(geometry, first + index, census.sizes.get(topic, 0), words[topic], found.get(topic, ())),
            "representatives": examples[index],
        }
        for index, topic in enumerate(births.born.tolist())
    ]
