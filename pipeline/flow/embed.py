"""The embedding job as a function: sources in object storage → committed vectors."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.flow.cluster import cluster, quiet_data
from pipeline.flow.job import Job, report
from pipeline.flow.options import EmbedOptions
from pipeline.flow.planning import Work, open_if_there, plan_work
from pipeline.flow.progress import Listener, Quiet
from pipeline.models import describe
from pipeline.spec import EmbeddingSpec
from pipeline.table import TableLocation, VectorTable
from pipeline.table.store import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.flow.report import EmbedReport

__all__ = ["embed", "plan_embed"]

logger = logging.getLogger(__name__)

Source = str | os.PathLike[str]


def plan_embed(
    source: Source | Sequence[Source], table: str | os.PathLike[str], options: EmbedOptions | None = None
) -> Work:
    """What `embed` would do, without doing any of it."""
    options = options or EmbedOptions()
    location = TableLocation.parse(table, options.storage_options)
    return _plan(source, location, open_if_there(location), options)


def embed(
    source: Source | Sequence[Source],
    table: str | os.PathLike[str],
    spec: EmbeddingSpec | str | Mapping[str, Any] | None = None,
    *,
    listener: Listener | None = None,
    **options: Any,
) -> EmbedReport:
    """Embed documents into a table; what the table already has is left alone.

    Args:
        source: path, directory, glob or URL, or several of them.
        table: ``DIRECTORY/NAME`` or its URL form; created on first use.
        spec: what the vectors mean, or a model's name; None: as the table has it, else the built-in model. A mapping
            gives single fields, the rest being as the table has it.
        listener: told how the run is going.
        options: fields of `EmbedOptions`.

    Raises:
        SourceError, TableError, ModelError, SpecError, FingerprintError: see their names; nothing is half done.
        RunError: the job failed as a whole; what was committed stays, and the next run goes on from there.
    """
    chosen = EmbedOptions(**options)
    listener = listener or Quiet()
    started = time.monotonic()
    location = TableLocation.parse(table, chosen.storage_options)
    existing = open_if_there(location)
    resolved, meaning, _ = describe(_asked(spec, existing))
    if existing is None:
        refuse_unwritable(location)
    else:
        _refuse_other(existing, meaning, chosen)
    listener.phase("listing")
    work = _plan(source, location, existing, chosen)
    if not work.units and existing is not None:
        return report(existing, work, started)
    listener.phase("starting Ray")
    with cluster(), quiet_data():
        return Job(location, work, resolved, meaning, chosen, listener, started).run(existing)


def _plan(
    source: Source | Sequence[Source], location: TableLocation, existing: VectorTable | None, options: EmbedOptions
) -> Work:
    sources = [os.fspath(each) for each in ([source] if isinstance(source, str | os.PathLike) else source)]
    if not sources:
        raise UsageError("no SOURCE given: name at least one path, directory, glob or URL")
    work = plan_work(
        sources, location, existing, options.reader, limit=options.limit, storage_options=options.storage_options
    )
    for uri in work.changed:
        logger.warning("%s has changed since it was embedded; its rows stay as they are", uri)
    return work


def _asked(spec: EmbeddingSpec | str | Mapping[str, Any] | None, table: VectorTable | None) -> EmbeddingSpec:
    """The spec that was meant: whole, by the model's name, or single fields over those of the table."""
    if isinstance(spec, EmbeddingSpec):
        return spec
    given = {"model": spec} if isinstance(spec, str) else dict(spec or {})
    if table is None:
        return EmbeddingSpec(**given)
    fields = {**table.spec.model_dump(), **given}
    if fields["combine"] != "sum" and "alpha" not in given:
        fields["alpha"] = None
    return EmbeddingSpec(**fields)


def _refuse_other(table: VectorTable, meaning: dict[str, Any], options: EmbedOptions) -> None:
    table.check(meaning)
    if not options.with_text and "text" in table.schema.names:
        raise UsageError(f"{table.location} stores texts, which is fixed: leave --no-text out")
