"""Counting a line of versions: how large its topics are, and where fitted and added documents fall.

Fitted documents are those of the line's full fit, added ones came (or came anew, from a changed file) since. Documents
that the table does not hold any more are not counted. 16 bytes a document are held.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from pipeline.topics.clustering.documents import slices_of
from pipeline.topics.clustering.geometry import OUTLIER
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.drift import Drift, Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import lance
    import pyarrow as pa
    from numpy.typing import NDArray

    from pipeline.topics.clustering.geometry import Assigned, Geometry
    from pipeline.topics.versions.tables import TopicModel, TopicTables

__all__ = ["CENSUS_COLUMNS", "Census", "Origin", "keys_of_table"]

CENSUS_COLUMNS: Final = ("version", "id", "slice", "topic", "nearest", "score")
"""The columns of assignments that are counted."""

CLUSTERING: Final = frozenset({"fit", "refit", "births"})
"""Operations that look for new topics."""

KEY_ROWS: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the line of `model` began: the model of its full fit, the documents of that, and the last clustering.

    `clustered` is the version that last looked for new topics.
    """

    base: TopicModel
    fitted: Keys
    clustered: int

    @classmethod
    def of(cls, tables: TopicTables, model: TopicModel) -> Self:
        """Read it from the topic tables.

        Raises:
            TopicError: the assignments are gone.
        """
        line = [other for other in tables.models() if other.base == model.base and other.version <= model.version]
        base = next(other for other in line if other.version == model.base)
        rows = tables.assignments(base, ("id", "slice"))
        fitted = Keys.of(document_keys(batch.column("id"), batch.column("slice")) for batch in rows)
        return cls(base, fitted, max(other.version for other in line if other.kind in CLUSTERING))


@dataclass(frozen=True, slots=True)
class Census:
    """Documents by topic (outliers under -1), and how the fitted and the added ones fall into `geometry`."""

    geometry: Geometry
    sizes: Mapping[int, int]
    fitted: Tally
    added: Tally
    fresh_rejects: int

    @classmethod
    def of(cls, rows: Iterable[pa.RecordBatch], geometry: Geometry, origin: Origin, present: Keys) -> Self:
        """Count the current `rows` (`CENSUS_COLUMNS`) of a line.

        Args:
            rows: one for each document.
            geometry: the topics, ascending, among them every row's nearest.
            origin: of the line.
            present: the documents of the table.
        """
        nobody = Tally.of(np.empty(0, dtype=np.intp), np.empty(0, dtype=np.float32), geometry.floor)
        fitted, added, fresh, sizes = nobody, nobody, 0, Counter[int]()
        for batch in rows:
            keys = document_keys(batch.column("id"), batch.column("slice"))
            there = present.holds(keys)
            nearest, score = _indexed(batch, geometry)
            since = there & ~origin.fitted.holds(keys)
            sizes.update(_counted(batch.column("topic").to_numpy()[there]))
            before = there & ~since
            fitted += Tally.of(nearest[before], score[before], geometry.floor)
            added += Tally.of(nearest[since], score[since], geometry.floor)
            unseen = since & (batch.column("version").to_numpy() > origin.clustered)
            fresh += Tally.of(nearest[unseen], score[unseen], geometry.floor).rejected
        return cls(geometry, dict(sizes), fitted, added, fresh)

    def plus(self, assigned: Assigned) -> Self:
        """With more added documents, as if they had been assigned."""
        more = Tally.of(np.searchsorted(self.geometry.ids, assigned.nearest), assigned.score, self.geometry.floor)
        sizes = Counter(self.sizes)
        sizes.update(_counted(assigned.topic))
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


def keys_of_table(dataset: lance.LanceDataset) -> NDArray[np.uint64]:
    """The key of every row of a table, in its order: uint64 [rows]."""
    columns = ["id", *(["slice"] if "slice" in dataset.schema.names else [])]
    batches = dataset.to_batches(columns=columns, batch_size=KEY_ROWS)
    keys = [document_keys(batch.column("id"), slices_of(batch)) for batch in batches]
    return np.concatenate([np.empty(0, dtype=np.uint64), *keys])


def _indexed(batch: pa.RecordBatch, geometry: Geometry) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    return np.searchsorted(geometry.ids, batch.column("nearest").to_numpy()), batch.column("score").to_numpy()


def _counted(topics: NDArray[np.int64]) -> dict[int, int]:
    names, counts = np.unique(topics, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))
