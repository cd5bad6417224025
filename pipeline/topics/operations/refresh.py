"""Keeping topics up with their table: assign what is new, measure, and change the topics only where that calls for it.

    assign   documents without a topic go to the nearest one, or to none; those that left the table are forgotten
    births   topics that the fit did not know are added (`pipeline.topics.operations.new_topics`)
    refit    everything is clustered anew, guided by the topics so far; those that go on keep ids and given labels

After assigning, the drift of the table (`pipeline.topics.operations.drift`) decides on the other two. Each is a version
of its own, so a refresh that died is gone on with by the next one, and one that finds nothing to do writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import TopicError
from pipeline.topics.keys import Keys, document_keys
from pipeline.topics.operations.assign import assign_documents, in_this_process
from pipeline.topics.operations.drift import Decision, Drift, Thresholds, decide
from pipeline.topics.operations.fit import FitOptions, fit_version
from pipeline.topics.operations.inherited import artefact_of, carried_rows, publish, recipe_of
from pipeline.topics.operations.new_topics import bear_topics
from pipeline.topics.operations.removed_documents import forget_departed
from pipeline.topics.operations.tally import CENSUS_COLUMNS, Census, Origin, keys_of_table
from pipeline.topics.operations.unassigned import pending_batches
from pipeline.topics.versions.load import load_topics
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.tables import TopicTables

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from lance import LanceDataset

    from pipeline.table.companions.lease import Lease
    from pipeline.topics.operations.assign import Mapper
    from pipeline.topics.versions.load import Topics
    from pipeline.topics.versions.tables import Located, TopicModel
    from pipeline.topics.words.keywords import Embeds, Encodes

__all__ = ["Refresh", "RefreshOptions", "pending_documents", "refresh_topics"]


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh did, or would do: `topics` hold afterwards, `made` are the versions that it wrote, oldest first.

    `pending` documents had no topic, `drift` is what was measured when they had one (None: their vectors cannot be
    compared with the topics'), `decisions` what followed from it, step by step.
    """

    topics: Topics
    before: TopicModel
    pending: int
    drift: Drift | None
    decisions: tuple[Decision, ...]
    made: tuple[TopicModel, ...] = ()
    is_dry: bool = False


@dataclass(frozen=True, slots=True)
class RefreshOptions:
    """How to refresh.

    `refit`: True: whatever was measured; False: never; None: when `thresholds` are passed. `encoder` orders keywords of
    new topics by the embedding model; `mapper` works on the table's parts.
    """

    refit: bool | None = None
    thresholds: Thresholds = field(default_factory=Thresholds)
    encoder: Encodes | Embeds | None = None
    mapper: Mapper = in_this_process


def refresh_topics(
    table: Located | str | os.PathLike[str],
    *,
    refit: bool | None = None,
    thresholds: Thresholds | None = None,
    encoder: Encodes | Embeds | None = None,
    mapper: Mapper = in_this_process,
    at_version: int | None = None,
    dry_run: bool = False,
    wait: float = 0.0,
    storage_options: Mapping[str, Any] | None = None,
) -> Refresh:
    """Bring the topics of a table up to date with it.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        refit: fit anew whatever is measured (True), never (False), or when thresholds are passed (None).
        thresholds: when to do more than to assign; None: the defaults.
        encoder: orders a second list of words of new topics by the embedding model.
        mapper: works on the table's parts; `pipeline.flow.engines.topic_mapper` has one that uses Ray.
        at_version: a version that the table must have reached; asked for again, a refit for it is not done again.
        dry_run: measure and decide, and write nothing.
        wait: seconds to wait for another change of these topics to end.
        storage_options: for remote storage, when `table` is a string.

    Raises:
        TopicError: there are no topics yet, they cannot be refreshed without a refit, or the table has not reached
            `at_version`.
        TableNotFoundError: no such table.
        LeaseError: these topics are being changed by another process.
    """
    tables = TopicTables.of(table, storage_options)
    before = load_topics(table, storage_options=storage_options)
    dataset = tables.vectors()
    if at_version is not None and dataset.version < at_version:
        raise TopicError(f"{tables.location} is at version {dataset.version}: it has not reached {at_version} yet")
    options = RefreshOptions(refit, thresholds or Thresholds(), encoder, mapper)
    if dry_run:
        return _foreseen(before, dataset, _asked(options, before, at_version))
    with topic_lease(tables, wait) as lease:
        latest = load_topics(table, storage_options=storage_options)
        return _refreshed(_Run(tables, lease, _asked(options, latest, at_version)), latest)


def pending_documents(topics: Topics) -> int:
    """How many documents of the table have no topic yet, those without a usable vector among them."""
    keys = keys_of_table(topics.tables.vectors())
    return int(np.sum(~_assigned(topics).holds(keys)))


def _assigned(topics: Topics) -> Keys:
    rows = topics.stream(("id", "slice"))
    return Keys.of(document_keys(batch.column("id"), batch.column("slice")) for batch in rows)


def _asked(options: RefreshOptions, topics: Topics, at_version: int | None) -> RefreshOptions:
    """Without a refit where the last full fit knew this version of the table."""
    done = at_version is not None and topics.tables.base(topics.model).table_version >= at_version
    return replace(options, refit=None) if options.refit and done else options


@dataclass(frozen=True, slots=True)
class _Run:
    """A refresh under way."""

    tables: TopicTables
    lease: Lease
    options: RefreshOptions


def _refreshed(run: _Run, before: Topics) -> Refresh:
    if not _comparable(before, run.tables.vectors()):
        decision = _without_comparison(run.options)
        topics = _refit(run, before.model, None)
        return Refresh(topics, before.model, topics.model.documents, None, (decision,), (topics.model,))
    topics, pending, drift = _assign(run, before)
    made = [topics.model] if topics.model.version > before.model.version else []
    first, decisions = drift, list[Decision]()
    while True:
        decision = _decide(drift, run.options, topics)
        decisions.append(decision)
        if decision.action == "nothing":
            break
        if decision.action == "refit":
            topics = _refit(run, topics.model, drift)
            made.append(topics.model)
            break
        topics, drift = _births(run, topics)
        made.append(topics.model)
    return Refresh(topics, before.model, pending, first, tuple(decisions), tuple(made))


def _foreseen(topics: Topics, dataset: LanceDataset, options: RefreshOptions) -> Refresh:
    """Measure and decide without a lease, and without writing."""
    if not _comparable(topics, dataset):
        decision = _without_comparison(options)
        return Refresh(topics, topics.model, dataset.count_rows(), None, (decision,), is_dry=True)
    geometry, present = topics.geometry(), Keys.of([keys_of_table(dataset)])
    origin = Origin.of(topics.tables, topics.model)
    census = Census.of(topics.stream(CENSUS_COLUMNS), geometry, origin, present)
    pending = 0
    for batch in pending_batches(dataset, _assigned(topics)):
        census, pending = census.plus(geometry.assign(batch.vectors)), pending + len(batch.ids)
    drift = census.drift()
    decision = _decide(drift, options, topics)
    return Refresh(topics, topics.model, pending, drift, (decision,), is_dry=True)


def _assign(run: _Run, before: Topics) -> tuple[Topics, int, Drift]:
    """Assign what is pending, if anything: the topics then, how many documents that were, and the drift."""
    origin, geometry = Origin.of(run.tables, before.model), before.geometry()
    step = NextVersion.begin(run.tables, run.lease, "assign", params=origin.base.params)
    artefact = artefact_of(before)
    added = assign_documents(step, geometry, vocabulary=artefact.vocabulary, mapper=run.options.mapper)
    present = Keys.of([keys_of_table(step.dataset)])
    forget_departed(run.tables, step.current(["id", "slice"]), present)
    census = Census.of(step.current(CENSUS_COLUMNS), geometry, origin, present)
    pending, drift = step.written(["version"]).num_rows, census.drift()
    if not pending and census.documents == before.model.documents:
        return before, 0, drift
    counts = artefact.counts if artefact.counts is not None else artefact.vocabulary.empty(geometry.ids)
    if added is not None:
        counts = counts.over(added.topics, artefact.vocabulary) + added
    step.save(replace(artefact, counts=counts))
    rows = carried_rows(before, census.sizes, counts).values()
    return publish(step, rows, census, drift=drift.to_json()), pending, drift


def _births(run: _Run, topics: Topics) -> tuple[Topics, Drift]:
    """Look for new topics: the topics then, and the drift."""
    origin, options = Origin.of(run.tables, topics.model), run.options
    recipe = recipe_of(origin.base)
    step = NextVersion.begin(run.tables, run.lease, "births", params=recipe.params())
    return bear_topics(step, origin, recipe, options.encoder, options.mapper)


def _refit(run: _Run, model: TopicModel, drift: Drift | None) -> Topics:
    figures = None if drift is None else drift.to_json()
    options = FitOptions(encoder=run.options.encoder, mapper=run.options.mapper, drift=figures)
    return fit_version(run.tables, run.lease, recipe_of(run.tables.base(model)), options, "refit")


def _decide(drift: Drift, options: RefreshOptions, topics: Topics) -> Decision:
    if options.refit:
        return Decision("refit", ("it was asked for",))
    recipe = recipe_of(topics.tables.base(topics.model))
    return decide(drift, options.thresholds, recipe.min_cluster_size, may_refit=options.refit is None)


def _comparable(topics: Topics, dataset: LanceDataset) -> bool:
    """Whether the table's vectors mean what the topics' do."""
    fingerprint = (dataset.schema.metadata or {}).get(b"moee.fingerprint", b"").decode() or None
    return topics.model.fingerprint == fingerprint


def _without_comparison(options: RefreshOptions) -> Decision:
    if options.refit is False:
        raise TopicError("the table's vectors are not those of its topics any more: only a refit can go on from here")
    return Decision("refit", ("the table's vectors are not those of its topics any more",))
