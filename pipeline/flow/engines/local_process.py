"""A worker of the local engine as the driver sees it: started, given work, listened to, killed, started again."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections import deque
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline import errors
from pipeline.errors import MoeeError, RunError
from pipeline.flow.engines.local_worker import DONE, FAILED, ITEM, MADE, SERVICE, TELL
from pipeline.logs import wants_json
from pipeline.threads import SPIN_BRIEFLY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.flow.engines.local_worker import Service
    from pipeline.flow.poison.tracker import Tracker

__all__ = ["Worker", "listen"]

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often silent workers are looked at."""

START_SECONDS: Final = 120.0
"""Time for a process to start and import, at least, before it says its first word."""

MIN_BUSY_SHARE: Final = 0.01
"""A process that computes for less of the time does nothing. A replica on a GPU uses a core to feed it."""

BUSY_FACTOR: Final = 24
"""A process that computes may be slow: a large model on a laptop needs an hour for the sample of a calibration."""

MAX_MUTE_DEATHS: Final = 3
"""Deaths in a row of a worker that said nothing, after which the run stops: the tracker cannot count these."""

_ENVIRONMENT: Final = {**SPIN_BRIEFLY, "TOKENIZERS_PARALLELISM": "false"}

_COMMAND: Final = (
    "import os, sys; sys.path[:] = sys.argv[4].split(os.pathsep); "
    "from pipeline.flow.engines.local_worker import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[5], sys.argv[6:])"
)


class Worker:
    """One process, and those that follow it when it dies.

    Args:
        name: the same for all of them: how the tracker knows them.
        modules: what it imports while nobody waits.
        max_silence: seconds after which it is taken to hang, and killed, if it has neither said a word about its work
            nor computed anything; if it does compute, `BUSY_FACTOR` times as many.
        run: named in its logs; empty: it works for none.
    """

    def __init__(self, name: str, modules: Sequence[str], max_silence: float, run: str = "") -> None:
        self.name, self._run = name, run
        self._modules, self._max_silence = modules, max_silence
        self._service: Service | None = None
        self._item: Any = None
        self._waiting: deque[tuple[str, Any]] = deque()
        self._is_at_work = False
        self._silent = self._idle = self._computed = 0.0
        self._has_spoken = False
        self._mute_deaths = 0
        self._connection: Any = None
        self._start()

    @property
    def is_busy(self) -> bool:
        """Whether it has something to do."""
        return self._is_at_work or bool(self._waiting)

    @property
    def connection(self) -> Connection:
        """To be waited for; readable when the worker has said something, or died."""
        return self._connection

    def serve(self, service: Service) -> None:
        """Let it build a service, for the items that follow."""
        self._service = service
        self._post(SERVICE, service)

    def give(self, item: Any) -> None:
        """Let it work on an item, which is kept until the worker has done it."""
        self._item = item
        self._post(ITEM, item)

    def hear(self, tracker: Tracker) -> list[Any]:
        """Take one thing that the worker has said: a result or none. A dead worker is started again.

        Raises:
            MoeeError: what the worker raised, or the tracker, which has seen enough.
            RunError: it raised something else, or dies whenever it is started.
        """
        self._silent = self._idle = 0.0
        try:
            kind, *said = self._connection.recv()
        except (EOFError, OSError):
            self._restart()
            return []
        self._has_spoken = True
        if kind != DONE or not self._waiting:  # that a service stands again is no progress
            self._mute_deaths = 0
        if kind == TELL:
            method, arguments = said
            answer = getattr(tracker, method)(*arguments)
            with contextlib.suppress(OSError):  # it has died, which the next call hears
                self._connection.send(answer)
        elif kind == FAILED:
            self._finish()
            raise _raised(*said)
        elif kind == DONE:
            self._finish()
        return said if kind == MADE else []

    def was_silent(self, seconds: float) -> None:
        """It was waited for in vain; one that hangs is killed, which counts as a death."""
        computed = _cpu_seconds(self._process.pid)
        self._idle = 0.0 if computed - self._computed > MIN_BUSY_SHARE * seconds else self._idle + seconds
        self._silent, self._computed = self._silent + seconds, computed
        limit = self._max_silence if self._has_spoken else max(self._max_silence, START_SECONDS)
        if self._idle > limit or self._silent > BUSY_FACTOR * limit:
            logger.warning("a worker (%s) has not moved for %.0f s: it is started again", self.name, self._silent)
            self._process.kill()

    def stop(self) -> None:
        """End the process; it has nothing to lose."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _start(self) -> None:
        self._silent = self._idle = self._computed = 0.0
        self._has_spoken = False
        self._connection, theirs = Pipe()
        words = None if logger.isEnabledFor(logging.DEBUG) or wants_json() else subprocess.DEVNULL
        path = os.pathsep.join(sys.path)
        arguments = [str(theirs.fileno()), str(os.getpid()), self.name, path, self._run, *self._modules]
        self._process = subprocess.Popen(  # noqa: S603 — nothing of it comes from outside
            [sys.executable, "-c", _COMMAND, *arguments],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=2 if words is None else words,
            stderr=words,
            env={**_ENVIRONMENT, **os.environ},
            process_group=0,  # Ctrl-C on the terminal is for the driver
        )
        theirs.close()

    def _restart(self) -> None:
        """Start a process in the place of one that has died, with the same service and the same item."""
        code = self._process.wait()
        self._connection.close()
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        logger.warning("a worker (%s) died (%s): it is started again", self.name, how)
        self._mute_deaths += 1
        if self._mute_deaths >= MAX_MUTE_DEATHS:
            raise RunError(f"a worker process died {self._mute_deaths} times in a row ({how}) before it said anything")
        self._start()
        self._is_at_work = False
        self._waiting.clear()
        if self._service is not None:
            self._post(SERVICE, self._service)
        if self._item is not None:
            self._post(ITEM, self._item)

    def _post(self, kind: str, content: Any) -> None:
        self._waiting.append((kind, content))
        if not self._is_at_work:
            self._send_next()

    def _finish(self) -> None:
        self._is_at_work = False
        if self._waiting:
            self._send_next()
        else:
            self._item = None

    def _send_next(self) -> None:
        """One message at a time: a worker that is at work does not read, and both would wait for each other."""
        self._is_at_work, self._silent, self._idle = True, 0.0, 0.0
        with contextlib.suppress(OSError):  # it has died, which the next call hears
            self._connection.send(self._waiting.popleft())


def _cpu_seconds(pid: int) -> float:
    """What a process has computed so far; where the system does not say: all the time, so that none seems idle."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listen(workers: Sequence[Worker]) -> list[Worker]:
    """Wait until some of these busy workers can be heard."""
    began = time.monotonic()
    ready = wait([worker.connection for worker in workers], LOOK_SECONDS)
    heard = [worker for worker in workers if worker.connection in ready]
    for worker in workers:
        if worker not in heard:
            worker.was_silent(time.monotonic() - began)
    return heard


def _raised(ours: bool, name: str, message: str, trace: str) -> MoeeError:  # noqa: FBT001
    logger.debug("in a worker:\n%s", trace)
    if ours:
        return getattr(errors, name, RunError)(message)
    last = next((line.strip() for line in reversed(message.splitlines()) if line.strip()), name)
    return RunError(f"a worker failed with {name}: {last} (--debug shows where)")
