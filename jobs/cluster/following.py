"""Following a job: its log as it comes, over connections that break, to its end."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import aiohttp

from pipeline.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobs.cluster.client import Job, Jobs

__all__ = ["follow", "wait"]

QUIET_SECONDS: Final = 60.0
"""Without a word for so long, a connection may have died silently: a new one is made."""

LOOK_SECONDS: Final = 0.5

AWAY_SECONDS: Final = 600.0
"""For so long a cluster may be out of reach before we give up."""


def follow(jobs: Jobs, job: str, write: Callable[[str], None], note: Callable[[str], None]) -> Job:
    """Write the log of a job, from its beginning, until the job is over.

    Args:
        jobs: the cluster.
        job: its id.
        write: gets the log, piece by piece, each once.
        note: gets a sentence when the connection breaks.

    Raises:
        ClusterError: the cluster was out of reach for `AWAY_SECONDS`, or does not know the job any more.
    """
    return asyncio.run(_Follower(jobs, job, write, note).follow())


def wait(jobs: Jobs, job: str, has_come: Callable[[Job], bool], seconds: float) -> Job:
    """The job when something `has_come`, or after so many seconds; a connection that breaks meanwhile is made again.

    Raises:
        ClusterError: the cluster does not know the job any more, or is out of reach in the end.
    """
    ends = time.monotonic() + seconds
    while True:
        is_late = time.monotonic() > ends
        try:
            found = jobs.get(job)
            if is_late or has_come(found):
                return found
        except ConnectionError:
            if is_late:
                raise
        time.sleep(LOOK_SECONDS)


class _Follower:
    def __init__(self, jobs: Jobs, job: str, write: Callable[[str], None], note: Callable[[str], None]) -> None:
        self._jobs, self._job, self._write, self._note = jobs, job, write, note
        self._written = 0
        self._reached = time.monotonic()

    async def follow(self) -> Job:
        while True:
            try:
                # Asked before the log is read: a log that is read after the end is whole.
                job = await asyncio.to_thread(self._jobs.get, self._job)
                self._reached = time.monotonic()
                await self._read()
                if job.is_over:
                    return job
            except (ConnectionError, RuntimeError, TimeoutError, aiohttp.ClientError) as error:
                away = time.monotonic() - self._reached
                if away > AWAY_SECONDS:
                    raise ClusterError(f"{self._jobs.address} was out of reach for {away:.0f} s") from error
                if not isinstance(error, TimeoutError):
                    self._note("connection lost, trying again …")
            await asyncio.sleep(1)

    async def _read(self) -> None:
        """Write what is new, until the connection ends."""
        passed = 0
        pieces = aiter(self._jobs.tail(self._job))
        while True:
            try:
                piece = await asyncio.wait_for(anext(pieces), QUIET_SECONDS)
            except StopAsyncIteration:
                return
            self._reached = time.monotonic()
            new = piece[max(0, self._written - passed) :]
            passed += len(piece)
            if new:
                self._write(new)
                self._written = passed
