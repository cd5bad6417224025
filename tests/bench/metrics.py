"""``make bench-metrics``: what metrics cost a run on Ray: calls a document × the cost of a call, and paired runs.

A run with a stub replica is made with and without metrics, in turns, on one cluster. Floor: the calls of a document
take less than 1 % of a document's time. Writes ``tests/bench/results/metrics-DATE.json``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

import stub
from common import machine, save  # the folder of a script is on its path
from flow import vocabulary, write_words
from rich.console import Console

from pipeline import embed
from pipeline.flow.engines.base import Replicas
from pipeline.flow.engines.cluster import cluster
from pipeline.flow.engines.ray_engine import RayEngine
from pipeline.flow.watching.ray_metrics import RayMetrics
from pipeline.metrics import MetricValue

FLOOR = 0.01
"""Share of a document's time that its metrics may take."""


def cost_of_a_call(calls: int = 20_000) -> float:
    """Seconds to record one value, a counter with two labels."""
    metrics = RayMetrics("bench")
    values = [MetricValue("moee_stage_seconds_total", float(number + 1), ("reading",)) for number in range(calls)]
    began = time.perf_counter()
    metrics.show(values, at_once=True)
    return (time.perf_counter() - began) / calls


class Counted:
    """`RayMetrics._record`, counting its calls."""

    def __init__(self) -> None:
        self.calls, self._record = 0, RayMetrics._record

    def __call__(self, *given: object) -> None:
        self.calls += 1
        self._record(*given)


def run(folder: Path, model: str, name: str) -> tuple[int, float]:
    """Documents, and seconds of streaming."""
    engine = stub.planted(RayEngine(Replicas(1, 1)))
    report = embed(str(folder / "corpus"), str(folder / "lake" / name), {"model": model}, engine=engine)
    return report.documents, report.seconds - report.startup_seconds


def pair(folder: Path, model: str, number: int) -> dict[str, float]:
    """One run with metrics and one without; which comes first changes."""
    seconds: dict[str, float] = {}
    calls = documents = 0
    for kind in ("with", "without") if number % 2 else ("without", "with"):
        counted = Counted()
        show = RayMetrics.show if kind == "with" else lambda *_, **__: None
        with (
            mock.patch.object(RayMetrics, "show", show),
            mock.patch.object(RayMetrics, "_record", lambda *given, counted=counted: counted(*given)),
        ):
            documents, seconds[kind] = run(folder, model, f"{kind}{number}")
        calls += counted.calls
    return {"calls_per_document": calls / documents, "documents": documents, **seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=40_000)
    parser.add_argument("--pairs", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, cluster():
        folder = Path(name)
        write_words(folder / "corpus", given.documents)
        model = stub.checkpoint(folder / "model", vocabulary())
        run(folder, model, "first")
        cost = cost_of_a_call()
        pairs = [pair(folder, model, number) for number in range(given.pairs)]
    per_document = statistics.median(each["without"] / each["documents"] for each in pairs)
    share = statistics.mean(each["calls_per_document"] for each in pairs) * cost / per_document
    ratios = [each["with"] / each["without"] for each in pairs]
    result = {"cost_of_a_call": cost, "share_of_a_document": share, "median_ratio": statistics.median(ratios)}
    console = Console()
    console.print(
        f"a call takes {1e6 * cost:.1f} µs; the calls of a document {share:.4%} of its time (below {FLOOR:.0%})"
    )
    console.print(f"with metrics a run takes {result['median_ratio']:.3f} of the time without, {min(ratios):.2f} to "
                  f"{max(ratios):.2f} in {len(pairs)} pairs")  # fmt: skip
    target = save("metrics", {"machine": machine(), **vars(given), **result, "pairs": pairs, "ratios": ratios})
    console.print(f"kept in {target}")


if __name__ == "__main__":
    main()
