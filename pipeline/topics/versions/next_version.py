"""Writing the next version of a table's topics: under a lease, resumable, visible at once or not at all.

    with topic_lease(tables) as lease:
        step = NextVersion.begin(tables, lease, "births", params={…})
        …                                        rows, artefact, assignments
        topics = step.publish(…)

An operation's token follows from all that decides its result. If it died, running it again gives the same token, and
what was written under it is found and gone on from. Rows and files under tokens that can no longer become visible are
removed by whoever publishes next.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

import lance
import numpy as np
import pyarrow as pa
from lance.fragment import FragmentMetadata

from pipeline.errors import TopicError
from pipeline.table.companions.lease import TOPICS_PATIENCE_SECONDS, Lease
from pipeline.table.fragments.orphans import collect_orphans
from pipeline.table.store import create_dataset, storage_errors
from pipeline.topics.clustering.recipe import library_versions
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.schema import ASSIGNMENTS, EVENTS, topics_schema
from pipeline.topics.versions.artefact import Artefact, artefact_names, read_tensors, write_tensors
from pipeline.topics.versions.current import Line, current_rows
from pipeline.topics.versions.load import Topics
from pipeline.topics.versions.tables import TopicModel, TopicTables, rows_of
from pipeline.topics.versions.visibility import sweep, switch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.topics.schema import Companion, Kind

__all__ = ["FULL", "NextVersion", "topic_lease"]

FULL: Final[frozenset[Kind]] = frozenset({"fit", "refit"})
"""Operations that assign every document anew."""

COMPARING: Final[frozenset[Kind]] = frozenset({"assign", "births", "merge", "reduce"})
"""Operations that compare the table's vectors with the topics' centroids."""


def topic_lease(tables: TopicTables, wait: float = 0.0) -> Lease:
    """The lease under which topics of a table are changed, to be entered.

    Args:
        tables: of the table.
        wait: seconds to wait for another operation to end.

    Raises:
        TableNotFoundError: there is no vector table.
    """
    tables.vectors()  # else a mistyped name would leave a lease beside no table
    return Lease(tables.location.sibling("topics"), "topics", wait=wait, patience=TOPICS_PATIENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class NextVersion:
    """An operation on the topics of `dataset`, a version of the vector table, on top of `parent`."""

    tables: TopicTables
    lease: Lease
    dataset: lance.LanceDataset
    parent: Topics | None
    kind: Kind
    recipe: str
    params: Mapping[str, Any]
    seed: int
    libraries: Mapping[str, str]
    token: str

    @classmethod
    def begin(
        cls,
        tables: TopicTables,
        lease: Lease,
        kind: Kind,
        *,
        params: Mapping[str, Any],
        seed: int | None = None,
        recipe: str | None = None,
    ) -> Self:
        """Prepare the next version; `seed` and `recipe` are the parent's unless given.

        Args:
            tables: where.
            lease: held by the caller.
            kind: what is done.
            params: all that decides the result, JSON-serializable.
            seed: of whatever is random.
            recipe: name of the recipe of the topics.

        Raises:
            TableNotFoundError: there is no vector table.
            TopicError: there are no topics yet, and `kind` is not a fit; or they were made of other vectors.
        """
        dataset, models, libraries = tables.vectors(), tables.models(), library_versions()
        parent = models[-1] if models else None
        if parent is None and kind not in FULL:
            raise TopicError(f"{tables.location} has no topics yet: fit them first (moee topics fit)")
        if parent is not None and kind in COMPARING and parent.fingerprint != _fingerprint_of(dataset):
            raise TopicError(
                f"{tables.location}: the table's vectors are not those of its topics any more: "
                "only a refit can go on from here (moee topics refresh --refit)"
            )
        seed = seed if seed is not None else parent.seed if parent else 0
        above = parent.model if parent else None
        decisive = [dataset.version, above, kind, dict(params), seed, libraries]
        token = blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=16).hexdigest()
        place = tables.location.sibling("topic_assignments")
        create_dataset(place, ASSIGNMENTS)
        collect_orphans(place, f"topics {token}")
        recipe = recipe or (parent.recipe if parent else "exact")
        topics = Topics(tables, parent) if parent else None
        return cls(tables, lease, dataset, topics, kind, recipe, dict(params), seed, libraries, token)

    @property
    def version(self) -> int:
        """The number of the version that this becomes."""
        return self.parent.model.version + 1 if self.parent else 1

    @property
    def base(self) -> int:
        """The version from which on assignments count."""
        return self.version if self.kind in FULL or self.parent is None else self.parent.model.base

    @property
    def stamp(self) -> dict[str, Any]:
        """The columns that say whose a row is."""
        return {"version": self.version, "model": self.token}

    @property
    def fingerprint(self) -> str | None:
        """What the vectors mean that the topics are made of: the table's, but names leave the topics as they were."""
        if self.kind == "label" and self.parent is not None:
            return self.parent.model.fingerprint
        return _fingerprint_of(self.dataset)

    def artefact(self) -> Artefact | None:
        """What this very operation saved before it died."""
        tensors = read_tensors(self.tables.location, self.token)
        return None if tensors is None else Artefact.of(tensors)

    def save(self, artefact: Artefact) -> None:
        """Write or replace this operation's artefact."""
        write_tensors(self.tables.location, self.token, artefact.tensors())

    def current(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Each document's row as it would be if this were published now: the line's, and what was written so far."""
        place = self.tables.location.sibling("topic_assignments")
        with storage_errors("read", place):
            yield from current_rows(create_dataset(place, ASSIGNMENTS)[0], self._line(), columns)

    def _line(self) -> Line:
        if self.kind in FULL or self.parent is None:
            return Line(self.version, self.version, (self.token,))
        line = self.tables.line(self.parent.model)
        return Line(line.first, self.version, (*line.tokens, self.token))

    def assigned(self) -> Keys:
        """The documents that have a topic already; all others are pending."""
        return Keys.of(document_keys(rows.column("id"), rows.column("slice")) for rows in self.current(["id", "slice"]))

    def sizes(self) -> dict[int, int]:
        """Documents by current topic, as `current`; outliers under -1."""
        sizes: Counter[int] = Counter()
        for rows in self.current(["topic"]):
            topics, counts = np.unique(rows.column("topic").to_numpy(), return_counts=True)
            sizes.update(dict(zip(topics.tolist(), counts.tolist(), strict=True)))
        return dict(sizes)

    def written(self, columns: list[str] | None = None) -> pa.Table:
        """The assignments that this operation wrote, in this run or in one that died."""
        place = self.tables.location.sibling("topic_assignments")
        with storage_errors("read", place):
            rows = rows_of(self.version, self.token)
            return create_dataset(place, ASSIGNMENTS)[0].to_table(columns=columns, filter=rows)

    def write(self, kind: Companion, rows: pa.Table) -> None:
        """Write `rows`, stamped with `stamp`, in place of what a run that died may have left of them.

        Raises:
            TopicError: topics of vectors of another dimension are there already.
            LeaseError: the lease was lost.
        """
        place = self.tables.location.sibling(kind)
        dataset, _ = create_dataset(place, rows.schema)
        if kind == "topics" and dataset.schema.field("centroid").type != rows.schema.field("centroid").type:
            raise TopicError(
                f"{place} holds topics of vectors of another dimension: remove {self.tables.location}.topic*, "
                "which belong to a table that was replaced"
            )
        self.lease.check()
        with storage_errors("write", place):
            left = rows_of(self.version, self.token)
            if dataset.count_rows(filter=left):
                dataset.delete(left)
            lance.write_dataset(rows, dataset, mode="append", storage_options=dict(place.options) or None)

    def commit(self, fragments: Iterable[str]) -> None:
        """Add staged assignments (Lance's FragmentMetadata as JSON) to those that this operation wrote.

        Raises:
            LeaseError: the lease was lost.
        """
        self.lease.check()
        place = self.tables.location.sibling("topic_assignments")
        added = [FragmentMetadata.from_json(fragment) for fragment in fragments]
        with storage_errors("write", place):
            lance.LanceDataset.commit(
                place.uri,
                lance.LanceOperation.Append(added),
                read_version=create_dataset(place, ASSIGNMENTS)[0].version,
                storage_options=dict(place.options) or None,
            )

    def publish(
        self,
        *,
        topics: Sequence[Mapping[str, Any]],
        events: Sequence[Mapping[str, Any]],
        documents: int,
        outliers: int,
        unused: int,
        metrics: Mapping[str, float | None],
        sampled: int | None = None,
        drift: Mapping[str, Any] | None = None,
        artefact: str | None = None,
    ) -> Topics:
        """Write topics and events, make the version visible, and clear away what can no longer become so.

        Args:
            topics: rows of ``NAME.topics`` but for the stamp; all active topics.
            events: rows of ``NAME.topic_events`` but for stamp and time.
            documents: how many have an assignment.
            outliers: how many of them are in no topic.
            unused: the first id that no topic ever had.
            metrics: quality figures.
            sampled: how many documents were clustered; the parent's number unless given.
            drift: figures of a refresh.
            artefact: name of the artefact that goes with the topics; the parent's unless this operation saved one.

        Raises:
            LeaseError: the lease was lost.
            CommitError: another operation took the version without holding the lease.
        """
        now, above = datetime.now(UTC), self.parent.model if self.parent else None
        rows = [{**self.stamp, **row} for row in topics]
        self.write("topics", pa.Table.from_pylist(rows, schema=topics_schema(self._dimension)))
        stories = [{**self.stamp, "created": now, **event} for event in events]
        self.write("topic_events", pa.Table.from_pylist(stories, schema=EVENTS))
        own = self.token if self.token in artefact_names(self.tables.location) else None
        model = TopicModel(
            **self.stamp,
            parent=above.version if above else None,
            kind=self.kind,
            base=self.base,
            created=now,
            recipe=self.recipe,
            seed=self.seed,
            table_version=self.dataset.version,
            fingerprint=self.fingerprint,
            documents=documents,
            sampled=sampled if sampled is not None else above.sampled if above else documents,
            topics=len(topics),
            outliers=outliers,
            unused=unused,
            params=dict(self.params),
            libraries=dict(self.libraries),
            metrics=dict(metrics),
            drift=None if drift is None else dict(drift),
            artefact=artefact or own or (above.artefact if above else None),
        )
        self.lease.check()
        switch(self.tables, model)
        sweep(self.tables, model)
        return Topics(self.tables, model)

    @property
    def _dimension(self) -> int:
        return int(self.dataset.schema.field("vector").type.list_size)


def _fingerprint_of(dataset: lance.LanceDataset) -> str | None:
    return (dataset.schema.metadata or {}).get(b"moee.fingerprint", b"").decode() or None
