"""What a run has done so far: counted by its driver from the parcels that come out of the engine, and from commits."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipeline.flow.watching.bottleneck import bottleneck, stage_loads, stage_seconds
from pipeline.flow.watching.effort import Effort

if TYPE_CHECKING:
    from pipeline.flow.engines.base import Pool
    from pipeline.flow.forecast.remembered import Remembered
    from pipeline.flow.parcel import Parcel
    from pipeline.flow.watching.bottleneck import Bottleneck
    from pipeline.table import Committer

__all__ = ["Totals"]


@dataclass(slots=True)
class Totals:
    """What a run has done so far."""

    started: float = field(default_factory=time.monotonic)
    """When `embed` was called, on the monotonic clock, as all times here."""
    streaming: float | None = None
    """When the engine was first given a plan."""
    ready: float | None = None
    """When a replica first took up a parcel."""
    last: float | None = None
    """When a parcel last came out of the engine."""
    planned: int | None = 0
    """Rows of input that the run has to read; None: not known."""
    read: int = 0
    """Rows of input."""
    tokens: int = 0
    """Embedded."""
    rejected: int = 0
    """In the parcels that have come out of the engine."""
    misfits: Counter[str] = field(default_factory=Counter[str])
    """Metadata column → values left out, in the parcels that have come out of the engine."""
    effort: Effort = field(default_factory=Effort)
    """What these parcels took."""
    committing: float = 0.0
    """Seconds for which the driver was busy with commits and took nothing out of the engine."""
    retried: int = 0
    """Rejects that this run has itself written before it tried them again."""
    index_seconds: float = 0.0
    """Spent on the table's indexes."""
    expected: Remembered | None = None
    """What ``--plan`` said before."""
    settled_version: int | None = None
    """The table's version in which no duplicate lacks its original; None: not found out."""
    committers: list[Committer] = field(default_factory=list["Committer"])
    """One for each pass."""

    @property
    def documents(self) -> int:
        """Added so far."""
        return sum(committer.totals.documents for committer in self.committers)

    @property
    def rejects(self) -> int:
        """Added so far, less those that were tried again."""
        return sum(committer.totals.rejects for committer in self.committers) - self.retried

    @property
    def rejected_so_far(self) -> int:
        """Rejects that are known of, committed or not."""
        return max(self.rejected, self.rejects)

    @property
    def reasons(self) -> dict[str, int]:
        """Reason → how many rejects were added so far."""
        return dict(sum((committer.totals.reasons for committer in self.committers), Counter[str]()))

    @property
    def commit_durations(self) -> list[float]:
        """Seconds that each commit took."""
        return [seconds for committer in self.committers for seconds in committer.totals.durations]

    @property
    def lost_races(self) -> int:
        """Commits that were tried again because another writer had won."""
        return sum(committer.totals.lost_races for committer in self.committers)

    @property
    def stage_seconds(self) -> dict[str, float]:
        """Seconds at work in each stage, added up over its workers."""
        return stage_seconds(self.effort, self.committing)

    def stage_loads(self, pool: Pool) -> dict[str, float]:
        """The share of the time for which each stage's workers were at work, 0 to 1."""
        passed = 0.0 if self.streaming is None or self.last is None else self.last - self.streaming
        return stage_loads(self.stage_seconds, self.effort, pool, passed)

    def bottleneck(self, pool: Pool) -> Bottleneck | None:
        """The stage that was waited for; None: none of them."""
        return bottleneck(self.stage_seconds, self.stage_loads(pool), pool)

    @property
    def rows_per_second(self) -> float | None:
        """Rows of input since the first replica began; None: none has."""
        return None if self.ready is None else self.read / max(time.monotonic() - self.ready, 1e-9)

    def stream(self, rows: int | None) -> None:
        """The engine is given a plan of so many rows; None: it is not known how many."""
        self.planned = None if rows is None or self.planned is None else self.planned + rows
        if self.streaming is None:
            self.streaming = time.monotonic()

    def count(self, parcel: Parcel, committing: float) -> None:
        """Add a parcel that has come out of the engine, and the seconds that it was kept from taking the next one."""
        self.tokens += parcel.n_tokens
        self.read += parcel.n_read
        self.rejected += parcel.rejects.num_rows
        self.misfits.update(parcel.misfits)
        self.effort += parcel.effort
        self.committing += committing
        self.last = time.monotonic()

    def replica_began(self, when: float) -> None:
        """A replica took up its first parcel, in seconds since 1970; infinite: it had none."""
        if self.ready is None:
            self.ready = max(time.monotonic() - max(time.time() - when, 0.0), self.started)
