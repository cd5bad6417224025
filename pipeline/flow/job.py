"""One run of the embedding job, on an engine and under the table's lease.

    plan ─▶ (new table: calibrate, create) ─▶ engine: read ─▶ embed ─▶ write ─▶ commit, while the job runs

The driver sees neither texts nor vectors, but for the calibration's sample, which it passes on: only descriptions of
written fragments, keys of rows, and rejects. What is committed stays; running the same command again goes on from there
(`pipeline.table.commit.committer`).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import version as package_version
from typing import TYPE_CHECKING, Final, Literal

import pyarrow.compute as pc

from pipeline.columns import from_ipc, to_ipc
from pipeline.embedding.calibration import Calibration
from pipeline.errors import RunError, TableError, first_line
from pipeline.flow.encoder import EncoderPlan
from pipeline.flow.plan import SizedPlan
from pipeline.flow.report import misfit_notes, report
from pipeline.flow.stages import ReadStage, Stages, WriteStage
from pipeline.flow.watching.metric_values import metric_values
from pipeline.flow.watching.record import figures_of
from pipeline.flow.watching.totals import Totals
from pipeline.flow.work import moved_work, slices_of
from pipeline.models import locate
from pipeline.table import Committer, Staged, VectorTable
from pipeline.table.changes.pruning import forget_table
from pipeline.table.changes.retry import missing_originals
from pipeline.table.companions.files import begin_files, unfinished
from pipeline.table.companions.journal import forget_files
from pipeline.table.companions.runs import finish_run, start_run, without_secrets
from pipeline.table.indexes.upkeep import refresh_indexes
from pipeline.table.store import existing_dataset
from pipeline.table.swap import begin_epoch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.flow.engines.base import Engine
    from pipeline.flow.options import EmbedOptions
    from pipeline.flow.parcel import Parcel
    from pipeline.flow.plan import Plan
    from pipeline.flow.progress import Listener
    from pipeline.flow.report import EmbedReport
    from pipeline.flow.work import Work
    from pipeline.spec import EmbeddingSpec, Meaning
    from pipeline.table import TableLocation
    from pipeline.table.changes.pruning import Pruned
    from pipeline.table.companions.lease import Lease

__all__ = ["Job", "read_stage"]

logger = logging.getLogger(__name__)

QUICK_BYTES: Final = 256 << 20
"""Weights with which a CPU, too, embeds a thousand documents in a minute."""


def read_stage(spec: EmbeddingSpec, options: EmbedOptions, work: Work, plan: Plan | None = None) -> ReadStage:
    """The stage that reads what `work` has planned, or another `plan` of the same sources."""
    plan = plan or work.units
    return ReadStage(
        spec=spec,
        options=work.options,
        keep=work.keep,
        done=plan.done,
        storage_options=options.storage_options,
        max_rows=plan.max_rows,
        max_bytes=plan.max_bytes,
        chunking=options.chunk,
        retry=work.retry,
    )


@dataclass(frozen=True, slots=True)
class Job:
    """The run of one `embed` call: what it is to do, and with what."""

    run_name: str
    lease: Lease
    location: TableLocation
    spec: EmbeddingSpec
    """Resolved."""
    meaning: Meaning
    options: EmbedOptions
    engine: Engine
    """Started."""
    listener: Listener
    totals: Totals = field(default_factory=Totals)

    def run(self, work: Work, existing: VectorTable | None, pruned: Pruned) -> EmbedReport:
        """Create the table where there is none, embed what is planned, and report.

        A second pass takes up documents that have lost their original (`pipeline.table.changes.retry`) in the
        first one; with a limit, the next run does.
        """
        self.engine.track(self.location, self.run_name, forgive=self.options.retry_rejects)
        table, stages = self._create(work) if existing is None else (existing, self._stages(existing, work))
        self._record_start(work, None if existing is None else existing.dataset().version)
        status: Literal["finished", "failed", "interrupted"] = "failed"
        try:
            self._pass(work, stages)
            if self.options.limit is None:
                self._take_up_moved(work, stages)
            status = "finished"
            if self.options.index:
                self._refresh_indexes()
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            self._record_end(status, work.keep)
        waited_for = self.totals.bottleneck(self.engine.pool)
        done = report(table, work, self.totals, run=self.run_name, pruned=pruned, waited_for=waited_for)
        if self.options.limit:
            return done
        return replace(done, unfinished_files=tuple(unfinished(self.location, work.units.files)))

    def _take_up_moved(self, work: Work, stages: Stages) -> None:
        missing = missing_originals(self.location)
        second = moved_work(work, self.location, missing)
        if second is not None:
            self.listener.phase("taking up documents that have moved")
            self.totals.retried = pc.sum(pc.equal(missing.column("run"), self.run_name)).as_py() or 0
            self._pass(second, replace(stages, read=self._read_stage(second)))
            missing = missing_originals(self.location)
        self.totals.settled_version = None if missing.num_rows else existing_dataset(self.location).version

    def _refresh_indexes(self) -> None:
        """Once, after all commits. The rows are in the table: what goes wrong here must not fail the run."""
        began = time.monotonic()
        try:
            dataset = existing_dataset(self.location)
            if dataset.has_index:
                self.listener.phase("bringing indexes up to date")
                refresh_indexes(self.location, dataset)
                self.totals.index_seconds = time.monotonic() - began
        except TableError as error:
            logger.warning("indexes are not up to date, try moee index %s: %s", self.location, error)

    def _record_start(self, work: Work, version: int | None) -> None:
        pool = self.engine.pool
        start_run(
            self.location,
            self.run_name,
            {"sources": [file.uri for file in work.files[:20]], "files": len(work.files)},
            spec=self.spec.model_dump_json(exclude_none=True),
            code_version=package_version("moee-pipeline"),
            engine=self.engine.name.lower(),
            replicas=pool.replicas.most,
            on_gpus=pool.on_gpus,
            version_before=version,
            estimate=None if self.totals.expected is None else json.dumps(self.totals.expected),
        )

    def _record_end(self, status: Literal["finished", "failed", "interrupted"], keep: pa.Schema) -> None:
        totals, error = self.totals, sys.exception() if status == "failed" else None
        self.engine.show(metric_values(totals, self.engine), last=True)
        notes = misfit_notes(totals.misfits, keep)
        if totals.index_seconds:
            notes += (f"{totals.index_seconds:.1f} s for indexes",)
        try:
            finish_run(
                self.location,
                self.run_name,
                status,
                seconds=time.monotonic() - totals.started,
                notes=notes,
                version_after=existing_dataset(self.location).version,
                error=None if error is None else without_secrets(first_line(error)),
                **figures_of(totals, self.engine),
            )
        except TableError as error:
            if status == "finished":
                raise
            logger.warning("the end of this run could not be recorded: %s", error)

    def _pass(self, work: Work, stages: Stages) -> None:
        """Read, embed and commit what `work` has planned."""
        begin_files(self.location, ((file.uri, file.version) for file in work.units.files), self.run_name)
        committer = self._committer(work)
        self.totals.committers.append(committer)
        pool = self.engine.pool
        quick = pool.on_gpus or locate(self.spec.model, self.spec.revision).weight_bytes <= QUICK_BYTES
        with committer:
            forget_files(self.location, work.reverted)
            sized = SizedPlan.of(work.units, pool.replicas.most, quick=quick)
            read = replace(stages.read, max_rows=sized.plan.max_rows, max_bytes=sized.plan.max_bytes)
            self.listener.phase("loading replicas")
            self.totals.stream(sized.rows)
            self._commit(self.engine.parcels(sized, replace(stages, read=read)), committer, sized.rows)

    def _commit(self, parcels: Iterator[Parcel], committer: Committer, rows: int | None) -> None:
        """Commit what comes out of the engine, until it ends or the limit is reached."""
        totals, most = self.totals, self.options.max_rejects
        for at, parcel in enumerate(parcels):
            if at == 0:
                totals.replica_began(parcel.begun)
                self.listener.start(rows)
            began = time.perf_counter()
            committer.add(Staged.from_table(parcel.rows), parcel.rejects, parcel.files)
            totals.count(parcel, time.perf_counter() - began)
            self.engine.show(metric_values(totals, self.engine))
            self.listener.advance(parcel.n_read, parcel.n_tokens, parcel.rejects.num_rows)
            self.lease.check()
            most.check(totals.rejected_so_far, totals.read, self.location)
            if self.options.limit is not None and totals.read >= self.options.limit:
                break
        most.check(totals.rejected_so_far, totals.read, self.location, at_end=True)

    def _create(self, work: Work) -> tuple[VectorTable, Stages]:
        """Calibrate and make the table, or open the one that somebody else was quicker to make."""
        self.listener.phase("calibrating")
        plan = work.units.unlimited()
        made = self.engine.calibrate(self._encoder(), plan, self._read_stage(work, plan))
        calibration = Calibration.from_arrow(from_ipc(made.calibration))
        options, chunking = work.options, self.options.chunk
        reader = {
            "slice_rows": options.slice_rows,
            "text": options.text,
            "id": options.id,
            "keep": list(options.keep),
            **({} if chunking is None else {"chunk": str(chunking)}),
        }
        forget_table(self.location)
        table = VectorTable.create(
            self.location,
            spec=self.spec,
            meaning=self.meaning,
            calibration=calibration,
            halves=made.halves,
            keep=work.keep,
            with_text=self.options.with_text,
            reader=reader,
        )
        table.check(self.meaning)
        begin_epoch(self.location, self.run_name, only_first=True)
        if table.reader != reader:
            raise RunError(f"another run has made {self.location} with other columns: run the command again")
        stages = self._stages(table, work)
        if table.calibration_hash != calibration.hash:
            logger.warning("another run has made %s: what was calibrated here is dropped", self.location)
            return table, stages
        return table, replace(stages, encoder=self._encoder(made.calibration), sample=made.sample)

    def _stages(self, table: VectorTable, work: Work) -> Stages:
        reuses = self.options.dedup or self.options.drop_duplicates
        return Stages(
            read=self._read_stage(work),
            encoder=self._encoder(to_ipc(table.calibration.to_arrow())),
            write=WriteStage(self.location),
            with_text="text" in table.schema.names,
            reuse=self.location if reuses else None,
        )

    def _encoder(self, calibration: bytes | None = None) -> EncoderPlan:
        return EncoderPlan(self.spec, self.meaning, self.options.device, self.engine.pool.threads, calibration)

    def _read_stage(self, work: Work, plan: Plan | None = None) -> ReadStage:
        return read_stage(self.spec, self.options, work, plan)

    def _committer(self, work: Work) -> Committer:
        return Committer(
            self.location,
            self.run_name,
            max_rows=self.options.commit_rows,
            max_seconds=self.options.commit_seconds,
            unique_ids=work.options.id is None,
            slices_of=lambda record: slices_of(record, work.options),
            changed=work.new_versions,
            drop_copies=self.options.drop_duplicates,
            retry=work.retry,
            lease=self.lease,
        )
