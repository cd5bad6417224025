"""One run of the embedding job on a connected cluster.

    plan ─▶ (new table: calibrate, create) ─▶ read ─▶ embed ─▶ stage ─▶ commit, while the job runs

The driver sees neither texts nor vectors: only descriptions of staged fragments, keys of rows, and rejects. What is
committed stays; running the same command again goes on from there (`pipeline.table.commit`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import ray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from pipeline.embedding.calibration import Calibration
from pipeline.flow.calibrate import calibrate
from pipeline.flow.cluster import LIGHT_TASK_CPUS, Replicas, replica_resources, unwrapped
from pipeline.flow.parcel import Parcel, from_ipc, to_ipc
from pipeline.flow.planning import MAX_ROWS, Work, known_records, slices_of
from pipeline.flow.report import EmbedReport
from pipeline.flow.stages import EmbedStage, ReadStage, StageStage
from pipeline.flow.worker import EncoderPlan
from pipeline.table import Committer, Staged, TableLocation, VectorTable
from pipeline.table.files import begin_files
from pipeline.table.rejects import reject_counts
from pipeline.table.runs import finish_run, new_run, start_run

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from pipeline.flow.options import EmbedOptions
    from pipeline.flow.progress import Listener
    from pipeline.spec import EmbeddingSpec, Meaning

__all__ = ["Job", "report"]

READ_TASKS: Final = 512
"""At most so many blocks of work units; a block's units are read one after another by one task."""

FRAGMENTS: Final = 1024
"""About so many fragments are staged in a run at the least rows each; larger corpora get larger fragments."""


@dataclass(slots=True)
class Job:
    """The run of one `embed` call."""

    location: TableLocation
    work: Work
    spec: EmbeddingSpec
    meaning: Meaning
    options: EmbedOptions
    listener: Listener
    started: float
    tokens: int = 0
    ready: float = 0.0

    def run(self, existing: VectorTable | None) -> EmbedReport:
        """Create the table where there is none, embed what is planned, and report."""
        pool, resources, threads = replica_resources(Replicas.parse(self.options.replicas), self.options.device)
        encoder = EncoderPlan(self.spec, self.meaning, self.options.device, threads)
        try:
            table = self._create(encoder, resources) if existing is None else existing
        except RayError as error:
            raise unwrapped(error) from error
        encoder = replace(encoder, calibration=to_ipc(table.calibration.to_arrow()))
        run = new_run()
        start_run(self.location, run, self._command())
        committer = self._committer(run)
        status: Literal["finished", "failed", "interrupted"] = "failed"
        try:
            with committer:
                begin_files(self.location, ((file.uri, file.version) for file in self.work.present), run)
                self._stream(self._graph(table, encoder, pool, resources), committer)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except RayError as error:
            raise unwrapped(error) from error
        finally:
            counts = {"documents": committer.rows, "tokens": self.tokens, "rejects": committer.rejects}
            finish_run(self.location, run, status, **counts)
        return report(
            table, self.work, self.started, run=run, ready=self.ready, committer=committer, tokens=self.tokens
        )

    def _create(self, encoder: EncoderPlan, resources: dict[str, Any]) -> VectorTable:
        self.listener.phase("calibrating")
        packed, halves = calibrate(encoder, self.work.sample, self._read_stage(), resources)
        reader = self.work.options
        table = VectorTable.create(
            self.location,
            spec=self.spec,
            meaning=self.meaning,
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
        table.check(self.meaning)
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

    def _stream(self, blocks: Iterator[pa.Table], committer: Committer) -> None:
        """Commit what comes out of the graph, until it ends or the limit is reached."""
        self.listener.phase("loading replicas")
        read = 0
        for parcel in (parcel for block in blocks for parcel in Parcel.from_block(block)):
            if not self.ready:
                self.ready = time.monotonic() - parcel.seconds
                self.listener.start(self.work.rows)
            committer.add(Staged.from_table(parcel.rows), parcel.rejects, parcel.files)
            self.tokens += parcel.n_tokens
            read += parcel.n_read
            self.listener.advance(parcel.n_read, parcel.n_tokens, parcel.rejects.num_rows)
            if self.options.limit is not None and read >= self.options.limit:
                break
        committer.add(None, None, known_records(self.work.units, self.work.options))

    def _graph(
        self, table: VectorTable, encoder: EncoderPlan, pool: Replicas, resources: dict[str, Any]
    ) -> Iterator[pa.Table]:
        units = [{"unit": unit.to_json()} for unit in self.work.units]
        if not units:
            return
        light: dict[str, Any] = {"num_cpus": LIGHT_TASK_CPUS, "batch_format": "pyarrow", "zero_copy_batch": True}
        dataset = ray.data.from_items(units, override_num_blocks=min(len(units), READ_TASKS))
        dataset = dataset.map_batches(self._read_stage(), batch_size=1, **light)
        dataset = dataset.map_batches(
            EmbedStage,
            fn_constructor_args=(encoder,),
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
            max_rows=MAX_ROWS,
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
    committer: Committer | None = None,
    tokens: int = 0,
) -> EmbedReport:
    """What a run did; without a committer: nothing, since there was nothing to do."""
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
