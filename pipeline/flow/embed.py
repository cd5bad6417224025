"""The embedding job as a function: sources in object storage → committed vectors."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.flow.engines.choice import choose_engine
from pipeline.flow.forecast.remembered import recall
from pipeline.flow.job import Job
from pipeline.flow.options import EmbedOptions
from pipeline.flow.progress import Listener, Quiet
from pipeline.flow.report import report
from pipeline.flow.watching.status import Status
from pipeline.flow.watching.totals import Totals
from pipeline.flow.work import Work, open_if_there, plan_gone, plan_work
from pipeline.logs import at_work_on
from pipeline.models import resolve_spec
from pipeline.spec import EmbeddingSpec
from pipeline.table import TableLocation, VectorTable
from pipeline.table.changes.pruning import prune
from pipeline.table.companions.lease import Lease
from pipeline.table.companions.runs import new_run, record_collected
from pipeline.table.store import refuse_unwritable
from pipeline.table.upkeep import tidy, tidy_if_needed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.flow.report import EmbedReport
    from pipeline.models import Checkpoint
    from pipeline.spec import Meaning

__all__ = ["Task", "embed", "plan_embed"]

logger = logging.getLogger(__name__)

Source = str | os.PathLike[str]


def plan_embed(
    source: Source | Sequence[Source],
    table: str | os.PathLike[str],
    spec: EmbeddingSpec | str | Mapping[str, Any] | None = None,
    *,
    listener: Listener | None = None,
    **options: Any,
) -> Task:
    """What `embed` would do, with the same arguments, without doing any of it.

    Raises:
        SourceError, TableError, ModelError, SpecError, FingerprintError: as `embed`.
    """
    chosen = EmbedOptions(**options)
    location = TableLocation.parse(table, chosen.storage_options)
    return _prepare(source, location, spec, chosen, listener or Quiet())


def embed(
    source: Source | Sequence[Source],
    table: str | os.PathLike[str],
    spec: EmbeddingSpec | str | Mapping[str, Any] | None = None,
    *,
    listener: Listener | None = None,
    **options: Any,
) -> EmbedReport:
    """Embed documents into a table: only new files and changed ones, whose rows are exchanged in one commit.

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
        LeaseError: another driver is at work on the table.
    """
    chosen, totals = EmbedOptions(**options), Totals()
    status = listener = Status(listener or Quiet(), totals)
    location = TableLocation.parse(table, chosen.storage_options)
    run = new_run()
    at_work_on(run=run)
    task = _prepare(source, location, spec, chosen, listener)
    if task.existing is not None and task.work.is_empty:
        tidy_if_needed(location, run)
        return report(task.existing, task.work, totals)
    with Lease(location, run, wait=chosen.wait, progress=status.to_json) as lease:
        collected = tidy(location, run)
        pruned = prune(location, _gone(source, location, chosen))
        task = _prepare(source, location, spec, chosen, listener)
        if task.existing is not None and task.work.units.is_empty:
            return report(task.existing, task.work, totals, pruned=pruned)
        totals.expected = recall(location, task.work.units)
        engine, why = choose_engine(task.options)
        listener.phase(f"starting the {engine.name} engine" + (f" ({why})" if why else ""))
        with engine:
            status.engine = engine
            job = Job(run, lease, location, task.spec, task.meaning, task.options, engine, listener, totals)
            done = job.run(task.work, task.existing, pruned)
        record_collected(location, run, collected + tidy(location, run))
        return done


@dataclass(frozen=True, slots=True)
class Task:
    """What a call of `embed` comes down to, seen from the table and the sources as they are now."""

    location: TableLocation
    existing: VectorTable | None
    spec: EmbeddingSpec
    meaning: Meaning
    options: EmbedOptions
    work: Work


def _prepare(
    source: Source | Sequence[Source],
    location: TableLocation,
    spec: EmbeddingSpec | str | Mapping[str, Any] | None,
    options: EmbedOptions,
    listener: Listener,
) -> Task:
    existing = open_if_there(location)
    resolved, meaning, checkpoint = resolve_spec(_asked(spec, existing))
    if existing is None:
        refuse_unwritable(location)
        _refuse_wide(options, resolved, checkpoint)
    else:
        _refuse_other(existing, meaning, options)
        options = options.fixed_by(existing)
    listener.phase("listing")
    return Task(location, existing, resolved, meaning, options, _plan(source, location, existing, options))


def _gone(source: Source | Sequence[Source], location: TableLocation, options: EmbedOptions) -> tuple[str, ...]:
    return plan_gone(_listed(source), location, options.storage_options) if options.prune else ()


def _listed(source: Source | Sequence[Source]) -> list[str]:
    sources = [os.fspath(each) for each in ([source] if isinstance(source, str | os.PathLike) else source)]
    if not sources:
        raise UsageError("no SOURCE given: name at least one path, directory, glob or URL")
    return sources


def _plan(
    source: Source | Sequence[Source], location: TableLocation, existing: VectorTable | None, options: EmbedOptions
) -> Work:
    return plan_work(
        _listed(source),
        location,
        existing,
        options.reader,
        dialect=options.dialect,
        limit=options.limit,
        storage_options=options.storage_options,
        retry_rejects=options.retry_rejects,
        prune=options.prune,
    )


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


def _refuse_wide(options: EmbedOptions, spec: EmbeddingSpec, checkpoint: Checkpoint) -> None:
    """Say before anything starts that the windows of a table to be made do not fit its prompt."""
    if options.chunk is not None:
        from pipeline.embedding.tokens import Tokenizer

        assert spec.prompt is not None  # resolved
        options.chunk.refuse_unless_fits(Tokenizer(checkpoint.path, spec.prompt, spec.max_tokens))


def _refuse_other(table: VectorTable, meaning: dict[str, Any], options: EmbedOptions) -> None:
    table.check(meaning)
    if (options.dedup or options.drop_duplicates) and "text" not in table.schema.names:
        raise UsageError(f"{table.location} stores no texts: there is nothing to compare new ones with")
    if not options.with_text and "text" in table.schema.names:
        raise UsageError(f"{table.location} stores texts, which is fixed: leave --no-text out")
