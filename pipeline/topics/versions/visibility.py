"""Publishing a version, and removing what can never become visible.

A version exists from the moment when its row is in ``NAME.topic_models``. The row is inserted only if the version is
still free. Rows and artefacts whose token has no entry in ``topic_models``, for a version that exists, are garbage.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from pipeline.columns import aligned
from pipeline.errors import CommitError
from pipeline.table.store import create_dataset, storage_errors
from pipeline.topics.schema import MODELS
from pipeline.topics.tensors import remove_tensors, tensor_names

if TYPE_CHECKING:
    from pipeline.topics.versions.tables import TopicModel, TopicTables

__all__ = ["publish_row", "remove_invisible"]

logger = logging.getLogger(__name__)


def publish_row(tables: TopicTables, model: TopicModel) -> None:
    """Insert the row of `model`, which makes its version visible.

    Raises:
        CommitError: its version is taken.
    """
    location = tables.location.sibling("topic_models")
    dataset, _ = create_dataset(location, MODELS)
    with storage_errors("write", location):
        merge = dataset.merge_insert("version").when_not_matched_insert_all()
        result = merge.execute(aligned(model.to_arrow()))
    if result["num_inserted_rows"] != 1:
        raise CommitError(f"{tables.location}: another operation wrote version {model.version} first: run this again")


def remove_invisible(tables: TopicTables, latest: TopicModel) -> None:
    """Remove the rows and artefacts of operations that can no longer publish, given the `latest` model."""
    models = tables.models()
    tokens = [model.model for model in models]
    garbage = (pc.field("version") <= latest.version) & ~pc.field("model").isin(tokens)
    for kind in ("topic_assignments", "topics", "topic_events"):
        dataset = tables.open(kind)
        if dataset is None or not dataset.count_rows(filter=garbage):
            continue
        with storage_errors("tidy", tables.location.sibling(kind)):
            dataset.delete(garbage)
        logger.info("removed what an unfinished operation left in %s", tables.location.sibling(kind))
    in_use = {model.artefact for model in models}
    # A map stays valid until a full fit: labels, mergers and additions do not move its documents.
    kept_prefixes = ("words.",) if latest.base == latest.version else ("words.", "map-")
    for name in tensor_names(tables.location):
        if name not in in_use and not name.startswith(kept_prefixes):
            remove_tensors(tables.location, name)
