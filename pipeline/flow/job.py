"""One run of the embedding job on a connected cluster.

    plan ─▶ (new table: calibrate, create) ─▶ read ─▶ embed ─▶ stage ─▶ commit, while the job runs

The driver sees neither texts nor vectors, but for the calibration's sample, which it passes on: only descriptions of
staged fragments, keys of rows, and rejects. What is committed stays; running the same command again goes on from there
(`pipeline.table.commit.committer`).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow.compute as pc
import ray
from ray.data import ActorPoolStrategy, TaskPoolStrategy
from ray.exceptions import RayError

from pipeline.columns import from_ipc, to_ipc
from pipeline.embedding.calibration import Calibration
from pipeline.errors import TableError
from pipeline.flow.calibrate import calibrate
from pipeline.flow.encoder_plan import EncoderPlan
from pipeline.flow.engines.cluster import Replicas, light_cpus, replica_resources, unwrapped
from pipeline.flow.engines.feed import Feed
from pipeline.flow.max_rejects import MaxRejects
from pipeline.flow.parcel import Parcel
from pipeline.flow.poison.tracker import start_tracker
from pipeline.flow.report import EmbedReport
from pipeline.flow.stages import EmbedStage, ReadStage, StageStage
from pipeline.flow.work import Plan, Work, moved_work, slices_of
from pipeline.models import locate
from pipeline.table import Committer, Staged, TableLocation, VectorTable
from pipeline.table.changes.duplicates import missing_originals
from pipeline.table.changes.pruning import Pruned, forget_table
from pipeline.table.companions.files import begin_files, unfinished
from pipeline.table.companions.journal import count_waiting, forget_files
from pipeline.table.companions.rejects import reject_counts
from pipeline.table.companions.runs import finish_run, start_run
from pipeline.table.info import count_documents
from pipeline.table.store import table_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.flow.options import EmbedOptions
    from pipeline.flow.poison.items import Watch
    from pipeline.flow.progress import Listener
    from pipeline.spec import EmbeddingSpec, Meaning
    from pipeline.table.companions.lease import Lease

__all__ = ["Job", "report"]

logger = logging.getLogger(__name__)

FRAGMENTS: Final = 1024
"""About so many fragments are staged in a run of one parcel each; longer runs get larger fragments."""

PARCELS: Final = 16
"""At most so many parcels make a fragment: as many are lost when everything dies, and as many are held in memory."""

QUICK_BYTES: Final = 256 << 20
"""Weights with which a CPU, too, embeds a thousand documents in a minute."""

UNITS_PER_READER: Final = 16
"""So many units are worth starting a process for, which takes some 3 s of a core, unless a replica would go idle."""

STAGERS: Final = 2
"""For each replica at most so many tasks stage what it made: without a bound Ray Data holds CPUs for more of them."""


@dataclass(slots=True)
class Job:
    """The run of one `embed` call, under the table's lease."""

    run_name: str
    lease: Lease
    location: TableLocation
    work: Work
    spec: EmbeddingSpec
    meaning: Meaning
    options: EmbedOptions
    listener: Listener
    started: float
    tokens: int = 0
    ready: float = 0.0
    sample: Any = None
    read: int = 0
    rejected: int = 0
    retried: int = 0
    settled: int | None = None
    committers: list[Committer] = field(default_factory=list[Committer])

    def run(self, existing: VectorTable | None, pruned: Pruned) -> EmbedReport:
        """Create the table where there is none, embed what is planned, and report.

        A second pass takes up documents that have lost their twin (`pipeline.table.changes.duplicates`) in the first
        one; with a limit, the next run does.
        """
        pool, resources, threads = replica_resources(Replicas.parse(self.options.replicas), self.options.device)
        encoder = EncoderPlan(self.spec, self.meaning, self.options.device, threads)
        run = self.run_name
        watch = start_tracker(self.location, run, forgive=self.options.retry_rejects)
        try:
            table = self._create(encoder, resources, watch) if existing is None else existing
        except RayError as error:
            raise unwrapped(error) from error
        encoder = replace(encoder, calibration=to_ipc(table.calibration.to_arrow()))
        start_run(self.location, run, self._command())
        status: Literal["finished", "failed", "interrupted"] = "failed"
        first = self.work
        try:
            self._pass(table, encoder, pool, resources, watch)
            if self.options.limit is None:
                missing = missing_originals(self.location)
                second = moved_work(first, self.location, missing)
                if second is not None:
                    self.listener.phase("taking up documents that have moved")
                    self.work, self.retried = second, pc.sum(pc.equal(missing.column("run"), run)).as_py() or 0
                    self._pass(table, encoder, pool, resources, watch)
                    missing = missing_originals(self.location)
                self.settled = None if missing.num_rows else table_version(self.location)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except RayError as error:
            raise unwrapped(error) from error
        finally:
            self._record_end(status)
        done = report(table, first, self.started, run=run, ready=self.ready, job=self, pruned=pruned)
        if self.options.limit:
            return done
        return replace(done, unfinished_files=tuple(unfinished(self.location, first.units.files)))

    def _record_end(self, status: Literal["finished", "failed", "interrupted"]) -> None:
        figures = {"documents": self.documents, "tokens": self.tokens, "rejects": self.rejects}
        settled = self.settled
        try:
            finish_run(
                self.location,
                self.run_name,
                status,
                seconds=time.monotonic() - self.started,
                settled_version=settled,
                **figures,
            )
        except TableError as error:
            if status == "finished":
                raise
            logger.warning("the end of this run could not be recorded: %s", error)

    @property
    def documents(self) -> int:
        """Added so far."""
        return sum(committer.totals.documents for committer in self.committers)

    @property
    def rejects(self) -> int:
        """Added so far, less those that were tried again."""
        return sum(committer.totals.rejects for committer in self.committers) - self.retried

    def _pass(
        self, table: VectorTable, encoder: EncoderPlan, pool: Replicas, resources: dict[str, Any], watch: Watch
    ) -> None:
        """Read, embed and commit what `work` has planned."""
        committer = self._committer()
        self.committers.append(committer)
        with committer:
            forget_files(self.location, self.work.reverted)
            begin_files(self.location, ((file.uri, file.version) for file in self.work.units.files), self.run_name)
            quick = "num_gpus" in resources or locate(self.spec.model, self.spec.revision).weight_bytes <= QUICK_BYTES
            feed = Feed.of(self.work.units, 4 * PARCELS + 8 * pool.most, pool.most, quick=quick)
            self._stream(self._graph(feed, table, encoder, pool, resources, watch), committer, feed)

    def _create(self, encoder: EncoderPlan, resources: dict[str, Any], watch: Watch) -> VectorTable:
        self.listener.phase("calibrating")
        plan = self.work.units.unlimited()
        made = calibrate(encoder, plan, self._read_stage(plan, watch), resources)
        self.sample = ray.put(made.sample)
        reader, chunking = self.work.options, self.options.chunking
        forget_table(self.location)
        table = VectorTable.create(
            self.location,
            spec=self.spec,
            meaning=self.meaning,
            calibration=Calibration.from_arrow(from_ipc(made.calibration)),
            halves=made.halves,
            keep=self.work.keep,
            with_text=self.options.with_text,
            reader={
                "slice_rows": reader.slice_rows,
                "text": reader.text,
                "id": reader.id,
                "keep": list(reader.keep),
                **({} if chunking is None else {"chunk": str(chunking)}),
            },
        )
        table.check(self.meaning)
        self.options = self.options.fixed_by(table)
        return table

    def _committer(self) -> Committer:
        return Committer(
            self.location,
            self.run_name,
            max_rows=self.options.commit_rows,
            max_seconds=self.options.commit_seconds,
            unique_ids=self.work.options.id is None,
            slices_of=lambda record: slices_of(record, self.work.options),
            changed=self.work.new_versions,
            drop_copies=self.options.drop_duplicates,
            retry=self.work.retry,
            lease=self.lease,
        )

    def _stream(self, blocks: Iterator[pa.Table], committer: Committer, feed: Feed) -> None:
        """Commit what comes out of the graph, until it ends or the limit is reached."""
        self.listener.phase("loading replicas")
        took = False
        most = MaxRejects.parse(self.options.max_rejects)
        for parcel in (parcel for block in blocks for parcel in Parcel.from_block(block)):
            if not self.ready:
                self.ready = max(time.monotonic() - max(time.time() - parcel.begun, 0.0), self.started)
            if not took:
                took = True
                self.listener.start(feed.rows)
            committer.add(Staged.from_table(parcel.rows), parcel.rejects, parcel.files)
            feed.release(parcel.n_units)
            self.tokens += parcel.n_tokens
            self.read += parcel.n_read
            self.listener.advance(parcel.n_read, parcel.n_tokens, parcel.rejects.num_rows)
            self.lease.check()
            self.rejected += parcel.rejects.num_rows
            most.check(max(self.rejected, self.rejects), self.read, self.location)
            if self.options.limit is not None and self.read >= self.options.limit:
                break
        most.check(max(self.rejected, self.rejects), self.read, self.location, at_end=True)

    def _graph(
        self,
        feed: Feed,
        table: VectorTable,
        encoder: EncoderPlan,
        pool: Replicas,
        resources: dict[str, Any],
        watch: Watch,
    ) -> Iterator[pa.Table]:
        if feed.units == 0:
            return
        most = feed.units or pool.most
        readers = None if feed.units is None else max(min(pool.most, feed.units), feed.units // UNITS_PER_READER)
        light: dict[str, Any] = {"num_cpus": light_cpus(), "batch_format": "pyarrow", "zero_copy_batch": True}
        dataset = feed.dataset().map_batches(
            self._read_stage(feed.plan, watch), compute=TaskPoolStrategy(size=readers), batch_size=1, **light
        )
        dataset = dataset.map_batches(
            EmbedStage,
            fn_constructor_args=(encoder,),
            fn_constructor_kwargs={
                "with_text": "text" in table.schema.names,
                "watch": watch,
                "reuse": self.location if self.options.dedup or self.options.drop_duplicates else None,
                "sample": self.sample,
            },
            compute=ActorPoolStrategy(min_size=min(pool.least, most), max_size=min(pool.most, most)),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            **resources,
        )
        together = PARCELS if feed.units is None else min(max(feed.units // FRAGMENTS, 1), PARCELS)
        # Ray warns of a bound above the number of tasks there will be.
        tasks = STAGERS * pool.most if feed.units is None else -(-feed.units // together)
        dataset = dataset.map_batches(
            StageStage(self.location, watch),
            compute=TaskPoolStrategy(size=min(STAGERS * pool.most, tasks)),
            batch_size=together,
            **light,
        )
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)

    def _read_stage(self, plan: Plan, watch: Watch) -> ReadStage:
        return ReadStage(
            spec=self.spec,
            options=self.work.options,
            keep=self.work.keep,
            done=plan.done,
            storage_options=self.options.storage_options,
            max_rows=plan.max_rows,
            max_bytes=plan.max_bytes,
            chunking=self.options.chunking,
            retry=self.work.retry,
            watch=watch,
        )

    def _command(self) -> dict[str, Any]:
        return {"sources": [file.uri for file in self.work.files[:20]], "files": len(self.work.files)}


def report(
    table: VectorTable,
    work: Work,
    started: float,
    *,
    run: str = "",
    ready: float = 0.0,
    job: Job | None = None,
    pruned: Pruned | None = None,
) -> EmbedReport:
    """What a run did; without a job: nothing, since there was nothing to do."""
    reasons = reject_counts(table.location)
    dataset = table.dataset()
    now = time.monotonic()
    committers = job.committers if job else []
    return EmbedReport(
        table=str(table.location),
        run=run,
        documents=job.documents if job else 0,
        tokens=job.tokens if job else 0,
        rejects=job.rejects if job else 0,
        seconds=now - started,
        startup_seconds=(ready or now) - started,
        table_rows=dataset.count_rows(),
        table_documents=count_documents(dataset),
        table_rejects=sum(reasons.values()),
        version=dataset.version,
        files=len(work.files),
        finished_files=work.finished_files,
        fingerprint=table.fingerprint,
        model=table.spec.model,
        reasons=reasons,
        changed_files=tuple(file.uri for file in work.changed),
        replaced_files=tuple(uri for committer in committers for uri in committer.totals.replaced_files),
        replaced_rows=sum(committer.totals.outdated_rows for committer in committers),
        kept_files=tuple(uri for committer in committers for uri in committer.totals.unreadable_files),
        pruned=pruned or Pruned(),
        staged_slices=count_waiting(table.location, [file.uri for file in work.changed]),
    )
