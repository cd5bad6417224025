"""The names of all metrics, in one registry, in the text format of Prometheus."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What one application counts."""

    def __init__(self) -> None:
        self.registry = kept = CollectorRegistry()
        self.requests = Counter(
            "moee_requests", "Requests by route and status", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "moee_request_seconds", "Time of a request", ["route"], buckets=_SECONDS, registry=self.registry
        )
        self.active = Gauge("moee_requests_active", "Requests that are being answered", registry=kept)
        self.batches = Histogram(
            "moee_query_batch_size", "Queries encoded together", buckets=_SIZES, registry=self.registry
        )
        self.rows = Gauge("moee_table_rows", "Rows of a table's newest version", ["table"], registry=kept)
        self.version = Gauge("moee_table_version", "A table's newest version", ["table"], registry=kept)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self.registry)
