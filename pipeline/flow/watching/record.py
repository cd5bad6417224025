"""What the record of a run says of what it did."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.flow.engines.base import Engine
    from pipeline.flow.watching.totals import Totals

__all__ = ["figures_of"]


def figures_of(totals: Totals, engine: Engine) -> dict[str, Any]:
    """Columns of RUNS."""
    effort, durations = totals.effort, totals.commit_durations
    waited_for = totals.bottleneck(engine.pool)
    return {
        "documents": totals.documents,
        "tokens": totals.tokens,
        "rejects": totals.rejects,
        "rows_read": totals.read,
        "reject_reasons": json.dumps(totals.reasons),
        "settled_version": totals.settled_version,
        "startup_seconds": None if totals.ready is None else totals.ready - totals.started,
        "index_seconds": totals.index_seconds,
        "stages": json.dumps(_stages(totals, engine)),
        "waited_for": None if waited_for is None else waited_for.stage,
        "advice": None if waited_for is None else waited_for.advice,
        "batches": effort.batches,
        "batch_fill": effort.fill,
        "staged_bytes": effort.staged_bytes,
        "commits": len(durations),
        "commit_seconds": sum(durations),
        "swap_retries": totals.lost_races,
        "deaths": engine.deaths(),
        "cost": _cost(totals, engine),
    }


def _cost(totals: Totals, engine: Engine) -> float | None:
    """By the price that the plan was given."""
    price = None if totals.expected is None else totals.expected["price"]
    return None if price is None else price * engine.pool.replicas.most * (time.monotonic() - totals.started) / 3600


def _stages(totals: Totals, engine: Engine) -> dict[str, dict[str, float | None]]:
    loads = totals.stage_loads(engine.pool)
    return {
        stage: {
            "seconds": round(seconds, 3),
            "load": round(loads[stage], 3),
            "rows_per_second": round(totals.read / seconds, 1) if seconds else None,
        }
        for stage, seconds in totals.stage_seconds.items()
    }
