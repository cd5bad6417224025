"""What the service counts (`pipeline.metrics.SERVICE`), in one registry, in the text format of Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline.metrics import SERVICE
from pipeline.topics.versions.tables import TopicTables

if TYPE_CHECKING:
    from pipeline.table import VectorTable

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What one application counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        made = {name: self._made(name) for name in SERVICE}
        self.requests: Counter = made["moee_requests_total"]
        self.seconds: Histogram = made["moee_request_seconds"]
        self.active: Gauge = made["moee_requests_active"]
        self.batches: Histogram = made["moee_query_batch_size"]
        self._rows: Gauge = made["moee_table_rows"]
        self._version: Gauge = made["moee_table_version"]
        self._topics: Gauge = made["moee_topic_documents"]

    def observe(self, table: VectorTable) -> None:
        """Set what tells of a served table as it is now.

        Raises:
            TableError: it cannot be read.
        """
        dataset = table.dataset()
        rows = dataset.count_rows()
        self._version.labels(table.name).set(dataset.version)
        self._rows.labels(table.name).set(rows)
        models = TopicTables.of(table).models()
        if models:
            assigned, outliers = models[-1].documents, models[-1].outliers
            states = {"assigned": assigned - outliers, "outlier": outliers, "waiting": max(rows - assigned, 0)}
            for state, count in states.items():
                self._topics.labels(table.name, state).set(count)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)

    def _made(self, name: str) -> Any:
        metric = SERVICE[name]
        if metric.kind == "histogram":
            return Histogram(name, metric.help, metric.labels, buckets=metric.buckets, registry=self.registry)
        kind = Counter if metric.kind == "counter" else Gauge
        return kind(name, metric.help, metric.labels, registry=self.registry)
