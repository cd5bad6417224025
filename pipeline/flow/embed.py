"""The embedding job: sources in object storage → committed vectors, and the same stages over any Ray dataset.

    plan ─▶ (new table: calibrate, create) ─▶ read ─▶ embed ─▶ stage ─▶ commit, while the job runs

The driver sees neither texts nor vectors: only descriptions of staged fragments, keys of rows, and rejects. What is
committed stays; running the same command again goes on from there (`pipeline.table.commit`).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from pipeline.corpus import ReaderOptions
from pipeline.embedding.calibration import Calibration
from pipeline.flow.calibrate import calibrate
from pipeline.flow.cluster import LIGHT_TASK_CPUS, Replicas, cluster, quiet_data, replica_resources, unwrapped
from pipeline.flow.parcel import Parcel, from_ipc, to_ipc
from pipeline.flow.planning import MAX_ROWS, Work, known_records, open_if_there, plan_work, slices_of
from pipeline.flow.progress import Listener, Quiet
from pipeline.flow.report import EmbedReport
from pipeline.flow.stages import EmbedStage, ReadStage, StageStage
from pipeline.models import describe
from pipeline.spec import EmbeddingSpec
from pipeline.table import Committer, Staged, TableLocation, VectorTable
from pipeline.table.files import begin_files
from pipeline.table.rejects import reject_counts
from pipeline.table.runs import finish_run, new_run, start_run
from pipeline.table.store import refuse_unwritable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Literal

    import pyarrow as pa

__all__ = ["EmbedOptions", "embed", "plan_embed"]

logger = logging.getLogger(__name__)

READ_TASKS: Final = 512
"""At most so many blocks of work units; a block's units are read one after another by one task."""

FRAGMENTS: Final = 1024
"""About so many fragments are staged in a run at the least rows each; larger corpora get larger fragments."""


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """How a job runs; none of it changes what the vectors mean.

    text, id, keep: columns of the input (None: found by name) · limit: stop after about so many rows of input ·
    replicas: ``N``, ``MIN:MAX`` or None · with_text: store the texts · commit_rows, commit_seconds: a commit is made
    after so many rows or seconds.
    """

    text: str | None = None
    id: str | None = None
    keep: tuple[str, ...] = ()
    limit: int | None = None
    replicas: str | int | tuple[int, int] | Replicas | None = None
    device: str = "auto"
    with_text: bool = True
    storage_options: Mapping[str, Any] | None = field(default=None, repr=False)
    commit_rows: int = 65_536
    commit_seconds: float = 10.0

    @property
    def reader(self) -> ReaderOptions:
        """What of it concerns reading."""
        return ReaderOptions(text=self.text, id=self.id, keep=tuple(self.keep), slice_rows=MAX_ROWS)


def plan_embed(source: str | Sequence[str], table: str, options: EmbedOptions | None = None) -> Work:
    """What `embed` would do, without doing any of it."""
    options = options or EmbedOptions()
    location = TableLocation.parse(table, options.storage_options)
    return _plan(source, location, open_if_there(location), options)


def embed(
    source: str | Sequence[str],
    table: str,
    spec: EmbeddingSpec | Mapping[str, Any] | None = None,
    *,
    listener: Listener | None = None,
    **options: Any,
) -> EmbedReport:
    """Embed documents into a table; what the table already has is left alone.

    Args:
        source: path, directory, glob or URL, or several of them.
        table: ``DIRECTORY/NAME`` or its URL form; created on first use.
        spec: what the vectors mean; None: as the table has it, else the built-in model. A mapping gives single
            fields, the rest being as the table has it.
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
    Replicas.parse(chosen.replicas)
    existing = open_if_there(location)
    resolved, meaning, _ = describe(_asked(spec, existing))
    if existing is not None:
        existing.check(meaning)
    else:
        refuse_unwritable(location)
    listener.phase("listing")
    work = _plan(source, location, existing, chosen)
    if not work.units and existing is not None:
        return _report(existing, work, "", started, started)
    listener.phase("starting Ray")
    with cluster(), quiet_data():
        return _Job(location, work, resolved, chosen, listener, started).run(existing)


def _plan(
    source: str | Sequence[str], location: TableLocation, existing: VectorTable | None, options: EmbedOptions
) -> Work:
    sources = [source] if isinstance(source, str) else list(source)
    work = plan_work(
        sources, location, existing, options.reader, limit=options.limit, storage_options=options.storage_options
    )
    for uri in work.changed:
        logger.warning("%s has changed since it was embedded; its rows stay as they are", uri)
    return work


def _asked(spec: EmbeddingSpec | Mapping[str, Any] | None, table: VectorTable | None) -> EmbeddingSpec:
    if isinstance(spec, EmbeddingSpec):
        return spec
    if table is None:
        return EmbeddingSpec(**(spec or {}))
    return EmbeddingSpec(**{**table.spec.model_dump(), **(spec or {})})


@dataclass(slots=True)
class _Job:
    """One run on a connected cluster."""

    location: TableLocation
    work: Work
    spec: EmbeddingSpec
    options: EmbedOptions
    listener: Listener
    started: float
    tokens: int = 0
    ready: float = 0.0

    def run(self, existing: VectorTable | None) -> EmbedReport:
        pool, resources, threads = replica_resources(Replicas.parse(self.options.replicas), self.options.device)
        try:
            table = existing or self._create(resources, threads)
        except RayError as error:
            raise unwrapped(error) from error
        run = new_run()
        start_run(self.location, run, self._command())
        begin_files(self.location, ((file.uri, file.version) for file in self.work.present), run)
        committer = self._committer(run)
        status: Literal["finished", "failed", "interrupted"] = "failed"
        try:
            with committer:
                self._stream(table, committer, pool, resources, threads)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except RayError as error:
            raise unwrapped(error) from error
        finally:
            counts = {"documents": committer.rows, "tokens": self.tokens, "rejects": committer.rejects}
            finish_run(self.location, run, status, **counts)
        return _report(table, self.work, run, self.started, self.ready, committer, self.tokens)

    def _create(self, resources: Mapping[str, Any], threads: int | None) -> VectorTable:
        self.listener.phase("calibrating")
        packed, halves = calibrate(
            self.spec,
            self.work.units,
            self._read_stage(),
            device=self.options.device,
            resources=resources,
            threads=threads,
        )
        _, meaning, _ = describe(self.spec)
        reader = self.work.options
        table = VectorTable.create(
            self.location,
            spec=self.spec,
            meaning=meaning,
            calibration=Calibration.from_arrow(from_ipc(packed)),
            halves=halves,
            keep=self.work.keep,
            with_text=self.options.with_text,
            reader={
                "slice_rows": reader.slice_rows,
                "text": reader.text,
                "id": reader.id,
                "keep": list(reader.keep),
            },
        )
        table.check(meaning)
        return table

    def _committer(self, run: str) -> Committer:
        return Committer(
            self.location,
            run,
            max_rows=self.options.commit_rows,
            max_seconds=self.options.commit_seconds,
            unique_ids=self.work.options.id is None,
            slices_of=lambda record: slices_of(record, self.work.options),
        )

    def _stream(
        self,
        table: VectorTable,
        committer: Committer,
        pool: Replicas,
        resources: Mapping[str, Any],
        threads: int | None,
    ) -> None:
        self.listener.phase("loading replicas")
        for block in self._graph(table, pool, resources, threads):
            for parcel in Parcel.from_block(block):
                if not self.ready:
                    self.ready = time.monotonic() - parcel.seconds
                    self.listener.start(self.work.rows)
                committer.add(Staged.from_table(parcel.rows), parcel.rejects, parcel.files)
                self.tokens += parcel.n_tokens
                self.listener.advance(parcel.n_read, parcel.n_tokens, parcel.rejects.num_rows)
            if self.options.limit is not None and committer.rows + committer.rejects >= self.options.limit:
                break
        committer.add(None, None, known_records(self.work.units, self.work.options))

    def _graph(
        self, table: VectorTable, pool: Replicas, resources: Mapping[str, Any], threads: int | None
    ) -> Iterator[pa.Table]:
        units = [{"unit": unit.to_json()} for unit in self.work.units]
        light: dict[str, Any] = {"num_cpus": LIGHT_TASK_CPUS, "batch_format": "pyarrow", "zero_copy_batch": True}
        dataset = ray.data.from_items(units, override_num_blocks=min(len(units), READ_TASKS))
        dataset = dataset.map_batches(self._read_stage(), batch_size=1, **light)
        dataset = dataset.map_batches(
            EmbedStage,
            fn_constructor_args=(self.spec, to_ipc(table.calibration.to_arrow()), self.options.device, threads),
            fn_constructor_kwargs={"with_text": "text" in table.schema.names},
            compute=ActorPoolStrategy(min_size=min(pool.least, len(units)), max_size=min(pool.most, len(units))),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            **resources,
        )
        together = min(max(len(units) // FRAGMENTS, 1), 16)
        dataset = dataset.map_batches(StageStage(self.location), batch_size=together, **light)
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)

    def _read_stage(self) -> ReadStage:
        return ReadStage(
            spec=self.spec,
            options=self.work.options,
            keep=self.work.keep,
            done=self.work.done,
            storage_options=self.options.storage_options,
            max_rows=min(MAX_ROWS, self.work.options.slice_rows),
        )

    def _command(self) -> dict[str, Any]:
        return {"sources": [file.uri for file in self.work.files[:20]], "files": len(self.work.files)}


def _report(
    table: VectorTable,
    work: Work,
    run: str,
    started: float,
    ready: float,
    committer: Committer | None = None,
    tokens: int = 0,
) -> EmbedReport:
    reasons = reject_counts(table.location)
    dataset = table.dataset()
    now = time.monotonic()
    return EmbedReport(
        table=str(table.location),
        run=run,
        documents=committer.rows if committer else 0,
        tokens=tokens,
        rejects=committer.rejects if committer else 0,
        seconds=now - started,
        startup_seconds=(ready or now) - started,
        table_rows=dataset.count_rows(),
        table_rejects=sum(reasons.values()),
        version=dataset.version,
        files=len(work.files),
        finished_files=work.finished_files,
        fingerprint=table.fingerprint,
        model=table.spec.model,
        reasons=reasons,
        changed_files=work.changed,
    )
