"""Refresh: assign new documents to topics, measure the drift, and change the topics only if the drift calls for it.

    assign   unassigned documents go to the nearest topic, or to none; assignments of removed documents are deleted
    births   new topics are added (`pipeline.topics.operations.new_topics`)
    refit    all documents are clustered again, guided by the topics so far; topics that go on keep ids and given labels

After `assign`, the drift of the table (`pipeline.topics.operations.drift`) decides on the other two. Each step is a
version of its own. So the next refresh goes on where one died, and a refresh that finds nothing to do writes nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import TopicError
from pipeline.mapper import in_this_process
from pipeline.topics.clustering.documents import keys_of_table
from pipeline.topics.clustering.recipe import untold
from pipeline.topics.keys import Keys
from pipeline.topics.operations.assign import assign_documents
from pipeline.topics.operations.drift import Decision, Drift, Thresholds, decide
from pipeline.topics.operations.fit import FitOptions, fit_version
from pipeline.topics.operations.inherited import artefact_of, inherited_rows, publish, recipe_of
from pipeline.topics.operations.new_topics import add_new_topics
from pipeline.topics.operations.recount import MAX_LEFT, count_anew, current_vocabulary
from pipeline.topics.operations.removed_documents import remove_assignments
from pipeline.topics.operations.tally import TALLY_COLUMNS, Origin, Tally
from pipeline.topics.operations.unassigned import unassigned_batches
from pipeline.topics.versions.load import latest_topics
from pipeline.topics.versions.next_version import NextVersion, topic_lease
from pipeline.topics.versions.tables import TopicTables, is_of_table

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from lance import LanceDataset

    from pipeline.mapper import Mapper
    from pipeline.table.companions.lease import Lease
    from pipeline.topics.versions.load import Topics
    from pipeline.topics.versions.tables import Located, TopicModel
    from pipeline.topics.words.keywords import Embeds, Encodes

__all__ = ["Refresh", "RefreshOptions", "count_unassigned", "refresh_topics"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refresh:
    """What a refresh did, or would do."""

    topics: Topics
    """The topics afterwards."""
    before: TopicModel
    """The model before."""
    unassigned: int
    """Documents that had no assignment before."""
    drift: Drift | None
    """Measured after they were assigned; None: the table's vectors cannot be compared with the topics'."""
    decisions: tuple[Decision, ...]
    """What followed from the drift, step by step."""
    made: tuple[TopicModel, ...] = ()
    """The versions that the refresh wrote, oldest first."""
    is_dry: bool = False
    """Whether nothing was written."""


@dataclass(frozen=True, slots=True)
class RefreshOptions:
    """How to refresh."""

    refit: bool | None = None
    """True: refit in any case; False: never; None: when `thresholds` are passed."""
    thresholds: Thresholds = field(default_factory=Thresholds)
    """When to do more than assign."""
    encoder: Encodes | Embeds | None = None
    """Orders keywords of new topics by the embedding model; None: they have none."""
    mapper: Mapper = in_this_process
    """Runs the units of the table."""
    phase: Callable[[str], None] = untold
    """Told what the refresh is at."""


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
    phase: Callable[[str], None] = untold,
) -> Refresh:
    """Bring the topics of a table up to date with it.

    Args:
        table: ``DIR/NAME``, its URL, or an open table.
        refit: True: fit again in any case; False: never; None: when thresholds are passed.
        thresholds: when to do more than assign; None: the defaults.
        encoder: orders a second list of words of new topics by the embedding model.
        mapper: runs the units of the table; `pipeline.flow.engines.base` has one for engines.
        at_version: a version that the table must have reached. A refit is skipped if the last full fit has seen it.
        dry_run: measure and decide, and write nothing.
        wait: up to how many seconds to wait for another change of these topics.
        storage_options: for remote storage, when `table` is a string.
        phase: told what the refresh is at.

    Raises:
        TopicError: there are no topics yet, they cannot be refreshed without a refit, or the table has not reached
            `at_version`.
        TableNotFoundError: no such table.
        LeaseError: these topics are being changed by another process.
    """
    tables = TopicTables.of(table, storage_options)
    before = latest_topics(tables)
    dataset = tables.vectors()
    if at_version is not None and dataset.version < at_version:
        raise TopicError(f"{tables.location} is at version {dataset.version}: it has not reached {at_version} yet")
    options = RefreshOptions(refit, thresholds or Thresholds(), encoder, mapper, phase)
    if dry_run:
        return _dry_run(before, dataset, _without_needless_refit(options, before, at_version))
    with topic_lease(tables, wait) as lease:
        latest = latest_topics(tables)
        return _refreshed(_Run(tables, lease, _without_needless_refit(options, latest, at_version)), latest)


def count_unassigned(topics: Topics) -> int:
    """How many documents of the table are unassigned, including those without a usable vector."""
    keys = keys_of_table(topics.tables.vectors())
    return int(np.sum(~_assigned(topics).holds(keys)))


def _assigned(topics: Topics) -> Keys:
    return Keys.of_rows(topics.stream(("id", "slice")))


def _without_needless_refit(options: RefreshOptions, topics: Topics, at_version: int | None) -> RefreshOptions:
    """The options without a refit that was asked for, if the last full fit has seen `at_version` of the table."""
    is_done = at_version is not None and topics.tables.base(topics.model).table_version >= at_version
    return replace(options, refit=None) if options.refit and is_done else options


@dataclass(frozen=True, slots=True)
class _Run:
    """A refresh that is running."""

    tables: TopicTables
    """The topic tables."""
    lease: Lease
    """Held until the refresh ends."""
    options: RefreshOptions
    """How to refresh."""


def _refreshed(run: _Run, before: Topics) -> Refresh:
    if not is_of_table(before.model, run.tables.vectors()):
        decision = _without_comparison(run.options)
        topics = _refit(run, before.model, None)
        return Refresh(topics, before.model, topics.model.documents, None, (decision,), (topics.model,))
    topics, unassigned, drift = _assign(run, before)
    made = [topics.model] if topics.model.version > before.model.version else []
    first, decisions = drift, list[Decision]()
    # Ends after two rounds: a search leaves no fresh rejects, so the next decision is a refit or nothing.
    while True:
        decision = _decide(drift, run.options, topics)
        decisions.append(decision)
        if decision.action == "nothing":
            break
        if decision.action == "refit":
            topics = _refit(run, topics.model, drift)
            made.append(topics.model)
            break
        topics, drift = _add_new_topics(run, topics)
        made.append(topics.model)
    return Refresh(topics, before.model, unassigned, first, tuple(decisions), tuple(made))


def _dry_run(topics: Topics, dataset: LanceDataset, options: RefreshOptions) -> Refresh:
    """Measure and decide, without a lease and without writing."""
    if not is_of_table(topics.model, dataset):
        decision = _without_comparison(options)
        return Refresh(topics, topics.model, dataset.count_rows(), None, (decision,), is_dry=True)
    geometry, present = topics.geometry(), Keys.of([keys_of_table(dataset)])
    origin = Origin.of(topics.tables, topics.model)
    tally = Tally.of(topics.stream(TALLY_COLUMNS), geometry, origin, present)
    unassigned = 0
    for batch in unassigned_batches(dataset, _assigned(topics)):
        tally, unassigned = tally.plus(geometry.assign(batch.vectors)), unassigned + len(batch.ids)
    drift = tally.drift()
    decision = _decide(drift, options, topics)
    return Refresh(topics, topics.model, unassigned, drift, (decision,), is_dry=True)


def _assign(run: _Run, before: Topics) -> tuple[Topics, int, Drift]:
    """Assign unassigned documents, if there are any.

    Returns:
        The topics afterwards, how many documents were assigned, and the drift.
    """
    run.options.phase("assigning new documents")
    origin, geometry = Origin.of(run.tables, before.model), before.geometry()
    step = NextVersion.begin(run.tables, run.lease, "assign", params=origin.base.params)
    artefact = artefact_of(before)
    vocabulary = current_vocabulary(artefact.vocabulary, step.dataset, recipe_of(origin.base).limit)
    is_older = vocabulary is not artefact.vocabulary
    added = assign_documents(step, geometry, vocabulary=vocabulary, mapper=run.options.mapper)
    present = Keys.of([keys_of_table(step.dataset)])
    remove_assignments(run.tables, step.current(["id", "slice"]), present)
    tally = Tally.of(step.current(TALLY_COLUMNS), geometry, origin, present)
    # Rows of a run that died count too: they were unassigned before this version.
    unassigned, drift = step.written(["version"]).num_rows, tally.drift()
    left = before.model.documents + unassigned - tally.documents
    if not unassigned and not left and not is_older:
        return before, 0, drift
    if is_older or artefact.counts is None or left > MAX_LEFT * tally.documents:
        logger.info(
            "counting words anew: %s", "they were split by an older rule" if is_older else "documents have left"
        )
        counts = count_anew(step.dataset, step.current(["id", "slice", "topic"]), geometry.ids, vocabulary)
    else:
        counts = artefact.counts if added is None else artefact.counts.over(added.topics, vocabulary) + added
    step.save(replace(artefact, vocabulary=vocabulary, counts=counts))
    rows = inherited_rows(before, tally.sizes, counts, with_labels=is_older).values()
    return publish(step, rows, tally, drift=drift.to_json()), unassigned, drift


def _add_new_topics(run: _Run, topics: Topics) -> tuple[Topics, Drift]:
    """Look for new topics; returns the topics afterwards, and the drift."""
    run.options.phase("looking for new topics")
    origin, options = Origin.of(run.tables, topics.model), run.options
    recipe = recipe_of(origin.base)
    step = NextVersion.begin(run.tables, run.lease, "births", params=recipe.params())
    return add_new_topics(step, origin, recipe, options.encoder, options.mapper)


def _refit(run: _Run, model: TopicModel, drift: Drift | None) -> Topics:
    figures = None if drift is None else drift.to_json()
    options = FitOptions(encoder=run.options.encoder, mapper=run.options.mapper, drift=figures, phase=run.options.phase)
    return fit_version(run.tables, run.lease, recipe_of(run.tables.base(model)), options, "refit")


def _decide(drift: Drift, options: RefreshOptions, topics: Topics) -> Decision:
    if options.refit:
        return Decision("refit", ("it was asked for",))
    recipe = recipe_of(topics.tables.base(topics.model))
    return decide(drift, options.thresholds, recipe.min_cluster_size, may_refit=options.refit is None)


def _without_comparison(options: RefreshOptions) -> Decision:
    if options.refit is False:
        raise TopicError("the table's vectors are not those of its topics any more: only a refit can go on from here")
    return Decision("refit", ("the table's vectors are not those of its topics any more",))
