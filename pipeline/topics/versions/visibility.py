"""The switch by which a version begins to exist, and the sweep of what never will.

A version is there with its row in ``NAME.topic_models``, inserted only if the version is still free. Rows and artefacts
of tokens that have no such row, under versions that are taken, can never become visible.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from pipeline.errors import CommitError
from pipeline.table.store import create_dataset, storage_errors
from pipeline.topics.schema import MODELS
from pipeline.topics.versions.artefact import artefact_names, remove_artefact

if TYPE_CHECKING:
    from pipeline.topics.versions.tables import TopicModel, TopicTables

__all__ = ["sweep", "switch"]

logger = logging.getLogger(__name__)


def switch(tables: TopicTables, model: TopicModel) -> None:
    """Make `model` visible.

    Raises:
        CommitError: its version is taken.
    """
    place = tables.location.sibling("topic_models")
    dataset, _ = create_dataset(place, MODELS)
    with storage_errors("write", place):
        result = dataset.merge_insert("version").when_not_matched_insert_all().execute(model.to_arrow())
    if result["num_inserted_rows"] != 1:
        raise CommitError(f"{tables.location}: another operation wrote version {model.version} first: run this again")


def sweep(tables: TopicTables, model: TopicModel) -> None:
    """Remove what operations that can no longer become visible left behind, given the `model` that now is the last."""
    models = tables.models()
    stale = (pc.field("version") <= model.version) & ~pc.field("model").isin([other.model for other in models])
    for kind in ("topic_assignments", "topics", "topic_events"):
        dataset = tables.open(kind)
        if dataset is None or not dataset.count_rows(filter=stale):
            continue
        with storage_errors("tidy", tables.location.sibling(kind)):
            dataset.delete(stale)
        logger.info("removed what an unfinished operation left in %s", tables.location.sibling(kind))
    kept = {other.artefact for other in models}
    # A map outlives what does not move its documents: names, mergers, additions.
    lasting = ("words.",) if model.base == model.version else ("words.", "map-")
    for name in artefact_names(tables.location):
        if name not in kept and not name.startswith(lasting):
            remove_artefact(tables.location, name)
