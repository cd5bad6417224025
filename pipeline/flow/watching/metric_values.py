"""What a run's metrics stand at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.metrics import MetricValue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.flow.engines.base import Engine
    from pipeline.flow.watching.totals import Totals

__all__ = ["metric_values"]


def metric_values(totals: Totals, engine: Engine) -> Iterator[MetricValue]:
    """All metrics of a job (`pipeline.metrics.JOB`) whose value is known by now."""
    effort, durations = totals.effort, totals.commit_durations
    waiting = [committer.waiting for committer in totals.committers]
    yield MetricValue("moee_rows_planned", totals.planned or 0)
    yield MetricValue("moee_rows_read_total", totals.read)
    yield MetricValue("moee_documents_total", totals.documents)
    yield MetricValue("moee_tokens_total", totals.tokens)
    for reason, count in totals.reasons.items():
        yield MetricValue("moee_rejects_total", count, (reason,))
    for stage, seconds in totals.stage_seconds.items():
        yield MetricValue("moee_stage_seconds_total", seconds, (stage,))
    for stage, load in totals.stage_loads(engine.pool).items():
        yield MetricValue("moee_stage_load", load, (stage,))
    yield MetricValue("moee_replica_waiting_seconds_total", effort.starving, ("input",))
    yield MetricValue("moee_replica_waiting_seconds_total", effort.handing_over, ("output",))
    yield MetricValue("moee_replicas", engine.pool.replicas.most)
    yield MetricValue("moee_batches_total", effort.batches)
    yield MetricValue("moee_batch_tokens_total", effort.batch_tokens)
    yield MetricValue("moee_batch_room_tokens_total", effort.batch_room)
    yield MetricValue("moee_staged_bytes_total", effort.staged_bytes)
    yield MetricValue("moee_commits_total", len(durations))
    yield MetricValue("moee_commit_seconds_total", sum(durations))
    yield MetricValue("moee_commit_duration_seconds", durations)
    yield MetricValue("moee_swap_retries_total", totals.lost_races)
    yield MetricValue("moee_uncommitted_rows", sum(rows for rows, _ in waiting))
    yield MetricValue("moee_ledger_lag_seconds", max((seconds for _, seconds in waiting), default=0.0))
    yield MetricValue("moee_worker_deaths_total", engine.deaths())
    if totals.ready is not None:
        yield MetricValue("moee_startup_seconds", totals.ready - totals.started)
