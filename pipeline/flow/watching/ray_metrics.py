"""A run's metrics on the Ray cluster that its driver is connected to: the agents export what is recorded here.

Ray's metrics take what is added, and a run knows what it stands at: the difference is recorded. All of it is recorded
by the driver, seldom, so a document costs nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from ray.util.metrics import Counter, Gauge, Histogram

from pipeline.metrics import JOB

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.metrics import Metric, MetricValue

__all__ = ["RayMetrics"]

SHOW_SECONDS: Final = 2.0
"""Ray's agents export every ten seconds."""


class RayMetrics:
    """Shows what the metrics of one run stand at.

    Args:
        run: value of the label ``run``.
    """

    def __init__(self, run: str) -> None:
        self._run = run
        self._metrics: dict[str, Any] = {}
        self._shown: dict[tuple[str, tuple[str, ...]], float] = {}
        self._next = 0.0

    def show(self, values: Iterable[MetricValue], *, at_once: bool = False) -> None:
        """Record them, unless that was done less than `SHOW_SECONDS` ago."""
        now = time.monotonic()
        if now < self._next and not at_once:
            return
        self._next = now + SHOW_SECONDS
        for each in values:
            self._record(JOB[each.name], each.value, each.labels)

    def _record(self, metric: Metric, value: float | Sequence[float], labels: tuple[str, ...]) -> None:
        recorder = self._metrics.get(metric.name)
        if recorder is None:
            recorder = self._metrics[metric.name] = _made(metric)
        tags = {**dict(zip(metric.labels, labels, strict=True)), "run": self._run}
        shown = self._shown.get((metric.name, labels), 0)
        if not isinstance(value, int | float):
            for observed in value[int(shown) :]:
                recorder.observe(observed, tags)
            self._shown[metric.name, labels] = len(value)
        elif metric.kind == "gauge":
            recorder.set(value, tags)
        elif value > shown:  # Ray refuses to add nothing; counts go down when rejects are tried again
            recorder.inc(value - shown, tags)
            self._shown[metric.name, labels] = value


def _made(metric: Metric) -> Counter | Gauge | Histogram:
    keys = (*metric.labels, "run")
    if metric.kind == "histogram":
        return Histogram(metric.name, metric.help, list(metric.buckets), keys)
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(metric.name, metric.help, keys)
