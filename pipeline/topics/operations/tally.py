"""The tally of a model: how large its topics are, and how fitted and added documents fall into them.

*Fitted* documents are those of the last full fit. *Added* documents came since, or came again from a changed file.
*Rejected* documents reach no topic's floor. Documents that have left the table are not counted. Memory holds 16 bytes
for each document.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.drift import Drift, NearestCounts
from pipeline.topics.schema import OUTLIER
from pipeline.topics.versions.rows import topic_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from pipeline.topics.clustering.geometry import Assigned, Geometry
    from pipeline.topics.versions.tables import TopicModel, TopicTables

__all__ = ["TALLY_COLUMNS", "Origin", "Tally"]

TALLY_COLUMNS: Final = ("version", "id", "slice", "topic", "nearest", "score")
"""The columns of assignments that are counted."""

CLUSTERING_KINDS: Final = frozenset({"fit", "refit", "births"})
"""Operations that look for new topics."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a model goes on from."""

    base: TopicModel
    """The last full fit."""
    fitted: Keys
    """The documents of that fit."""
    clustered: int
    """The version that last looked for new topics."""

    @classmethod
    def of(cls, tables: TopicTables, model: TopicModel) -> Self:
        """The origin of `model`, read from the topic tables.

        Raises:
            TopicError: the assignments are gone.
        """
        models = tables.since_fit(model)
        fitted = Keys.of_rows(tables.assignments(models[0], ("id", "slice")))
        return cls(models[0], fitted, max(other.version for other in models if other.kind in CLUSTERING_KINDS))


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of documents."""

    geometry: Geometry
    """The topics."""
    sizes: Mapping[int, int]
    """Topic → number of its documents, outliers among them."""
    fitted: NearestCounts
    """How the fitted documents fall into the topics."""
    added: NearestCounts
    """How the added documents fall into the topics."""
    fresh_rejects: int
    """Added documents that are rejected and came after the last search for new topics."""

    @classmethod
    def of(cls, rows: Iterable[pa.RecordBatch], geometry: Geometry, origin: Origin, present: Keys) -> Self:
        """Count documents by their current rows.

        Args:
            rows: one for each document, with `TALLY_COLUMNS`.
            geometry: the topics, ascending; every row's nearest is among them.
            origin: of the model.
            present: the documents of the table.
        """
        nothing = NearestCounts.of(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32), geometry.floor)
        fitted, added, fresh, sizes = nothing, nothing, 0, Counter[int]()
        for batch in rows:
            keys = document_keys(batch.column("id"), batch.column("slice"))
            is_present = present.holds(keys)
            is_added = is_present & ~origin.fitted.holds(keys)
            is_fitted = is_present & ~is_added
            is_fresh = is_added & (batch.column("version").to_numpy() > origin.clustered)
            nearest, score = _indexed(batch, geometry)
            sizes.update(topic_sizes([batch.column("topic").to_numpy()[is_present]]))
            fitted += NearestCounts.of(nearest[is_fitted], score[is_fitted], geometry.floor)
            added += NearestCounts.of(nearest[is_added], score[is_added], geometry.floor)
            fresh += NearestCounts.of(nearest[is_fresh], score[is_fresh], geometry.floor).rejected
        return cls(geometry, dict(sizes), fitted, added, fresh)

    def plus(self, assigned: Assigned) -> Self:
        """The tally with more added documents, as if they had been assigned."""
        nearest = np.searchsorted(self.geometry.ids, assigned.nearest)
        more = NearestCounts.of(nearest, assigned.score, self.geometry.floor)
        sizes = Counter(self.sizes) + Counter(topic_sizes([assigned.topic]))
        fresh = self.fresh_rejects + more.rejected
        return replace(self, sizes=dict(sizes), added=self.added + more, fresh_rejects=fresh)

    @property
    def documents(self) -> int:
        """All documents that have an assignment."""
        return sum(self.sizes.values())

    @property
    def outliers(self) -> int:
        """Those in no topic."""
        return self.sizes.get(OUTLIER, 0)

    def drift(self) -> Drift:
        """How far the added documents lie from the fitted ones."""
        return Drift.between(
            self.fitted,
            self.added,
            ids=self.geometry.ids,
            mad=self.geometry.mad,
            fresh_rejects=self.fresh_rejects,
        )


def _indexed(batch: pa.RecordBatch, geometry: Geometry) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Position of each row's nearest topic in `geometry`, and the similarity with it, both [rows]."""
    return np.searchsorted(geometry.ids, batch.column("nearest").to_numpy()), batch.column("score").to_numpy()
