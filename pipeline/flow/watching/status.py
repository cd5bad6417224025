"""How far a run is, for those who watch it from elsewhere: the lease's holder tells it with every beat."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.flow.engines.base import Engine
    from pipeline.flow.progress import Listener
    from pipeline.flow.watching.totals import Totals

__all__ = ["Status"]


class Status:
    """A listener between a run and the one that its caller gave: passes everything on, and remembers the phase.

    Args:
        listener: the caller's.
        totals: of the run.
    """

    engine: Engine | None = None
    """Who executes the run, once that is known."""

    def __init__(self, listener: Listener, totals: Totals) -> None:
        self._listener, self._totals = listener, totals
        self._phase = ""

    def phase(self, name: str) -> None:
        """See `Listener`."""
        self._phase = name
        self._listener.phase(name)

    def start(self, rows: int | None) -> None:
        """See `Listener`."""
        self._phase = "embedding"
        self._listener.start(rows)

    def advance(self, rows: int, tokens: int, rejects: int) -> None:
        """See `Listener`."""
        self._listener.advance(rows, tokens, rejects)

    def to_json(self) -> dict[str, Any]:
        """How far the run is; what is not known is null: rows planned, rate, seconds left, the stage waited for."""
        totals = self._totals
        rate = totals.rows_per_second
        left = None if not totals.planned or not rate else max(totals.planned - totals.read, 0) / rate
        waited_for = None if self.engine is None or not totals.read else totals.bottleneck(self.engine.pool)
        return {
            "phase": self._phase,
            "seconds": round(time.monotonic() - totals.started, 1),
            "planned": totals.planned or None,
            "read": totals.read,
            "documents": totals.documents,
            "tokens": totals.tokens,
            "rejects": totals.rejected_so_far,
            "rows_per_second": rate and round(rate, 3),
            "seconds_left": left and round(left),
            "waited_for": None if waited_for is None else waited_for.stage,
        }
