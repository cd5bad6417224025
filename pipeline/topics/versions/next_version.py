"""Writing the next version of a table's topics: under a lease, resumable, visible all at once or not at all.

    with topic_lease(tables) as lease:
        step = NextVersion.begin(tables, lease, "births", params={…})
        …                                        rows, artefact, assignments
        topics = step.publish(…)

An operation's token is a hash of all that decides its result. An operation that died has the same token when it runs
again: it finds what it had written, and goes on from there. Rows and files of an operation that can no longer publish
are removed by the next operation that does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self

import lance
import pyarrow as pa
from lance.fragment import FragmentMetadata

from pipeline.columns import aligned
from pipeline.errors import TopicError
from pipeline.table.companions.lease import TOPICS_PATIENCE_SECONDS, Lease
from pipeline.table.fragments.orphans import collect_orphans
from pipeline.table.store import create_dataset, storage_errors
from pipeline.topics.clustering.recipe import library_versions
from pipeline.topics.keys import Keys
from pipeline.topics.schema import ASSIGNMENTS, EVENTS, topics_schema
from pipeline.topics.tensors import read_tensors, tensor_names, write_tensors
from pipeline.topics.versions.artefact import Artefact
from pipeline.topics.versions.current import VersionRange, current_rows
from pipeline.topics.versions.load import Topics
from pipeline.topics.versions.rows import topic_sizes
from pipeline.topics.versions.tables import TopicModel, TopicTables, fingerprint_of, is_of_table, written_by
from pipeline.topics.versions.visibility import publish_row, remove_invisible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipeline.topics.schema import Companion, Kind

__all__ = ["FULL_FITS", "NextVersion", "topic_lease"]

FULL_FITS: Final[frozenset[Kind]] = frozenset({"fit", "refit"})
"""Operations that assign every document again."""

COMPARING_KINDS: Final[frozenset[Kind]] = frozenset({"assign", "births", "merge", "reduce"})
"""Operations that compare the table's vectors with the topics' centroids."""


def topic_lease(tables: TopicTables, wait: float = 0.0) -> Lease:
    """The lease under which the topics of a table are changed; enter it by ``with``.

    Args:
        tables: the topic tables.
        wait: up to how many seconds to wait for another holder.

    Raises:
        TableNotFoundError: there is no vector table.
    """
    tables.vectors()  # else a mistyped name would leave a lease beside no table
    return Lease(tables.location.sibling("topics"), "topics", wait=wait, patience=TOPICS_PATIENCE_SECONDS)


@dataclass(frozen=True, slots=True)
class NextVersion:
    """An operation that writes the version after the latest one."""

    tables: TopicTables
    """The topic tables that it writes to."""
    lease: Lease
    """Held by the caller."""
    dataset: lance.LanceDataset
    """The vector table, at the version that the operation reads."""
    parent: Topics | None
    """The latest topics; None before the first fit."""
    kind: Kind
    """What the operation does."""
    recipe: str
    """Name of the recipe of the topics."""
    params: Mapping[str, Any]
    """All that decides the result beside the table and the seed, JSON-serializable."""
    seed: int
    """Seed of the random steps."""
    libraries: Mapping[str, str]
    """Versions of the libraries that can change a fit."""
    token: str
    """Marks every row and file that the operation writes."""

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
        """Prepare the next version.

        Args:
            tables: the topic tables.
            lease: held by the caller.
            kind: what the operation does.
            params: all that decides the result beside the table and the seed, JSON-serializable.
            seed: of the random steps; None: the parent's.
            recipe: name of the recipe of the topics; None: the parent's.

        Raises:
            TableNotFoundError: there is no vector table.
            TopicError: there are no topics yet, and `kind` is not a fit; or they were made of other vectors.
        """
        dataset, models, libraries = tables.vectors(), tables.models(), library_versions()
        parent = models[-1] if models else None
        if parent is None and kind not in FULL_FITS:
            raise TopicError(f"{tables.location} has no topics yet: fit them first (moee topics fit)")
        if parent is not None and kind in COMPARING_KINDS and not is_of_table(parent, dataset):
            raise TopicError(
                f"{tables.location}: the table's vectors are not those of its topics any more: "
                "only a refit can go on from here (moee topics refresh --refit)"
            )
        seed = seed if seed is not None else parent.seed if parent else 0
        # The parent's token is part of the hash: the same operation on another parent is another operation.
        decisive = [dataset.version, parent.model if parent else None, kind, dict(params), seed, libraries]
        token = blake2b(json.dumps(decisive, sort_keys=True).encode(), digest_size=16).hexdigest()
        # What an operation that died had staged without committing is no row of any version.
        assignments = tables.location.sibling("topic_assignments")
        create_dataset(assignments, ASSIGNMENTS)
        collect_orphans(assignments, f"topics {token}")
        recipe = recipe or (parent.recipe if parent else "exact")
        topics = Topics(tables, parent) if parent else None
        return cls(tables, lease, dataset, topics, kind, recipe, dict(params), seed, libraries, token)

    @property
    def version(self) -> int:
        """The number of the version that the operation writes."""
        return self.parent.model.version + 1 if self.parent else 1

    @property
    def base(self) -> int:
        """The version of the last full fit: assignments count from there on."""
        return self.version if self.kind in FULL_FITS or self.parent is None else self.parent.model.base

    @property
    def stamp(self) -> dict[str, Any]:
        """The columns that say which operation wrote a row."""
        return {"version": self.version, "model": self.token}

    @property
    def fingerprint(self) -> str | None:
        """What the vectors mean that the topics are made of: the table's, or the parent's where only labels change."""
        if self.kind == "label" and self.parent is not None:
            return self.parent.model.fingerprint
        return fingerprint_of(self.dataset)

    def artefact(self) -> Artefact | None:
        """What this operation saved in a run that died; None: nothing."""
        tensors = read_tensors(self.tables.location, self.token)
        return None if tensors is None else Artefact.of(tensors)

    def save(self, artefact: Artefact) -> None:
        """Write or replace the operation's artefact."""
        write_tensors(self.tables.location, self.token, artefact.tensors())

    def current(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Each document's current row as if the operation published now: rows of earlier versions, and its own."""
        location = self.tables.location.sibling("topic_assignments")
        with storage_errors("read", location):
            yield from current_rows(create_dataset(location, ASSIGNMENTS)[0], self._version_range(), columns)

    def _version_range(self) -> VersionRange:
        if self.kind in FULL_FITS or self.parent is None:
            return VersionRange(self.version, self.version, (self.token,))
        before = self.tables.version_range(self.parent.model)
        return VersionRange(before.first, self.version, (*before.tokens, self.token))

    def assigned(self) -> Keys:
        """The documents that have an assignment; all others are unassigned."""
        return Keys.of_rows(self.current(["id", "slice"]))

    def sizes(self) -> dict[int, int]:
        """Topic → number of its documents, by their current rows; outliers among them."""
        return topic_sizes(rows.column("topic").to_numpy() for rows in self.current(["topic"]))

    def written(self, columns: list[str] | None = None) -> pa.Table:
        """The assignments that the operation wrote, in this run or in one that died."""
        location = self.tables.location.sibling("topic_assignments")
        with storage_errors("read", location):
            own = written_by(self.version, self.token)
            return create_dataset(location, ASSIGNMENTS)[0].to_table(columns=columns, filter=own)

    def write(self, kind: Companion, rows: pa.Table) -> None:
        """Write `rows`, which carry the `stamp`; they replace those that a run that died had written.

        Raises:
            TopicError: topics of vectors of another dimension are there already.
            LeaseError: the lease was lost.
        """
        location = self.tables.location.sibling(kind)
        dataset, _ = create_dataset(location, rows.schema)
        if kind == "topics" and dataset.schema.field("centroid").type != rows.schema.field("centroid").type:
            raise TopicError(
                f"{location} holds topics of vectors of another dimension: remove {self.tables.location}.topic*, "
                "which belong to a table that was replaced"
            )
        self.lease.check()
        with storage_errors("write", location):
            own = written_by(self.version, self.token)
            if dataset.count_rows(filter=own):
                dataset.delete(own)
            options = dict(location.options) or None
            lance.write_dataset(aligned(rows), dataset, mode="append", storage_options=options)

    def commit(self, fragments: Iterable[str]) -> None:
        """Commit staged assignments (Lance's FragmentMetadata as JSON).

        Raises:
            LeaseError: the lease was lost.
        """
        self.lease.check()
        location = self.tables.location.sibling("topic_assignments")
        added = [FragmentMetadata.from_json(fragment) for fragment in fragments]
        with storage_errors("write", location):
            lance.LanceDataset.commit(
                location.uri,
                lance.LanceOperation.Append(added),
                read_version=create_dataset(location, ASSIGNMENTS)[0].version,
                storage_options=dict(location.options) or None,
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
    ) -> Topics:
        """Write topics and events, make the version visible, and remove what can never become visible.

        Args:
            topics: rows of ``NAME.topics`` for all active topics, without the stamp.
            events: rows of ``NAME.topic_events``, without stamp and time.
            documents: how many have an assignment.
            outliers: how many of them are in no topic.
            unused: the first id that no topic ever had.
            metrics: quality figures.
            sampled: how many documents were clustered; the parent's number unless given.
            drift: figures of a refresh.

        Raises:
            LeaseError: the lease was lost.
            CommitError: another operation took the version without holding the lease.
        """
        now, before = datetime.now(UTC), self.parent.model if self.parent else None
        rows = [{**self.stamp, **row} for row in topics]
        self.write("topics", pa.Table.from_pylist(rows, schema=topics_schema(self._dimension)))
        happened = [{**self.stamp, "created": now, **event} for event in events]
        self.write("topic_events", pa.Table.from_pylist(happened, schema=EVENTS))
        # An operation that saved no artefact, such as one that changes labels, goes on with the parent's.
        own = self.token if self.token in tensor_names(self.tables.location) else None
        model = TopicModel(
            **self.stamp,
            parent=before.version if before else None,
            kind=self.kind,
            base=self.base,
            created=now,
            recipe=self.recipe,
            seed=self.seed,
            table_version=self.dataset.version,
            fingerprint=self.fingerprint,
            documents=documents,
            sampled=sampled if sampled is not None else before.sampled if before else documents,
            topics=len(topics),
            outliers=outliers,
            unused=unused,
            params=dict(self.params),
            libraries=dict(self.libraries),
            metrics=dict(metrics),
            drift=None if drift is None else dict(drift),
            artefact=own or (before.artefact if before else None),
        )
        # The last moment at which a lost lease is noticed; beyond it, the insert itself decides.
        self.lease.check()
        publish_row(self.tables, model)
        remove_invisible(self.tables, model)
        return Topics(self.tables, model)

    @property
    def _dimension(self) -> int:
        return int(self.dataset.schema.field("vector").type.list_size)
