"""The names of all metrics: what a job shows on a Ray cluster, and what the service shows.

Whoever reaches a port of Ray's agents reads what stands there, so no label holds a text, a document's id or a URL; a
label takes few values, or is the name of a run or of a served table. Ray puts `RAY_PREFIX` before the names, and
labels of its own beside ours.

A job has counters where one would think of histograms: a quotient of two rates is a mean that adds up over processes.
The sum of Ray's histograms is made of the middles of their buckets, so the one there is has counters beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["JOB", "RAY_PREFIX", "SERVICE", "Metric", "MetricValue"]

RAY_PREFIX: Final = "ray_"

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric."""

    name: str
    """As it is exported; a counter's ends in ``_total``."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    """Those of a job's metrics have ``run`` besides."""
    buckets: tuple[float, ...] = ()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of its series."""
        if self.kind != "histogram":
            return (self.name,)
        return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))


class MetricValue(NamedTuple):
    """What a metric stands at."""

    name: str
    value: float | Sequence[float]
    """A counter's since the beginning; of a histogram everything observed since then."""
    labels: tuple[str, ...] = ()
    """Values of the metric's labels, in their order."""


def _named(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


JOB: Final = _named(
    Metric("moee_rows_planned", "gauge", "Rows of input that the run has to read; 0 where that is not known"),
    Metric("moee_rows_read_total", "counter", "Rows of input that have been read"),
    Metric("moee_documents_total", "counter", "Documents that have been committed"),
    Metric("moee_tokens_total", "counter", "Tokens that have been embedded"),
    Metric("moee_rejects_total", "counter", "Rejected documents, by reason", ("reason",)),
    Metric("moee_stage_seconds_total", "counter", "Seconds at work in a stage, added up over its workers", ("stage",)),
    Metric("moee_stage_load", "gauge", "Share of the time for which a stage's workers were at work", ("stage",)),
    Metric(
        "moee_replica_waiting_seconds_total",
        "counter",
        "Seconds for which replicas waited: for input, or for their output to be taken (local: written)",
        ("waits_for",),
    ),
    Metric("moee_replicas", "gauge", "Replicas that there can be"),
    Metric("moee_batches_total", "counter", "Batches that replicas have computed"),
    Metric("moee_batch_tokens_total", "counter", "Tokens in these batches"),
    Metric("moee_batch_room_tokens_total", "counter", "Tokens for which these batches had room"),
    Metric("moee_staged_bytes_total", "counter", "Bytes of the data files that have been written"),
    Metric("moee_commits_total", "counter", "Commits"),
    Metric("moee_commit_seconds_total", "counter", "Seconds that commits took"),
    Metric("moee_commit_duration_seconds", "histogram", "How long a commit took", buckets=_SECONDS),
    Metric("moee_swap_retries_total", "counter", "Commits that were tried again because another writer won"),
    Metric("moee_uncommitted_rows", "gauge", "Rows and rejects that wait for a commit"),
    Metric("moee_ledger_lag_seconds", "gauge", "How long the oldest of them has been waiting"),
    Metric("moee_worker_deaths_total", "counter", "Deaths of workers that the run has survived"),
    Metric("moee_startup_seconds", "gauge", "Seconds until the first replica began"),
)
"""Of a job, by name; set by its driver, which the figures of all workers reach."""

SERVICE: Final = _named(
    Metric("moee_requests_total", "counter", "Requests by route and status", ("route", "status")),
    Metric("moee_request_seconds", "histogram", "Time of a request", ("route",), _SECONDS),
    Metric("moee_requests_active", "gauge", "Requests that are being answered"),
    Metric("moee_query_batch_size", "histogram", "Queries encoded together", buckets=_SIZES),
    Metric("moee_table_rows", "gauge", "Rows of a table's newest version", ("table",)),
    Metric("moee_table_version", "gauge", "A table's newest version", ("table",)),
    Metric("moee_topic_documents", "gauge", "Documents by topic assignment", ("table", "state")),
)
"""Of the service, by name. ``state`` is assigned, outlier or waiting: for the next refresh."""
