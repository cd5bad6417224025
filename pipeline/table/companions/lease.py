"""The lease: one driver at a time works on a table, so that nothing is computed twice and orphans can be collected.

    NAME.lease    a dataset without rows; its configuration names the holder and counts its beats

A beat is an update of that configuration, which conflicts with any other since it was read: a compare-and-swap on
every storage that Lance knows. (0.8 ms on a disk; kept out of the table because each beat is a version, and old ones
are cleaned away here.) A holder that dies stops beating. Whoever waits compares beats over its own monotonic clock and
never two machines' clocks, so a clock may jump; a holder on this machine whose process is gone is dead at once.

Nothing in the data depends on the lease. A driver that lost it without knowing is stopped by the commit protocol
(`pipeline.table.commit.committer`) and by the fence (`pipeline.table.fragments.orphans`).
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pyarrow as pa

from pipeline.errors import LeaseError, TableError
from pipeline.table.store import create_dataset, open_dataset, storage_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    import lance

    from pipeline.table.location import TableLocation

__all__ = ["TOPICS_PATIENCE_SECONDS", "Holder", "Lease", "read_holder", "read_last_told", "read_progress"]

logger = logging.getLogger(__name__)

BEAT_SECONDS: Final = 5.0
PATIENCE_SECONDS: Final = 30.0
"""A holder on another machine is dead when it has not beaten for so long, by the observer's clock."""

TOPICS_PATIENCE_SECONDS: Final = 300.0
"""The same for topics: UMAP and HDBSCAN hold the interpreter for a minute and more, and with it the beating thread."""

_GRACE_SECONDS: Final = 1.0
"""A process that was just killed is not gone yet."""

_LONG_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.5
_BEATS_KEPT: Final = 60
_KEY: Final = "moee.holder"
_PROGRESS: Final = "moee.progress"
_LEFT: Final = "moee.left"
"""The progress of a holder that did not give the lease back, kept by the one after it."""
_SCHEMA: Final = pa.schema([pa.field("lease", pa.string())])


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lease.

    `machine` tells machines and containers apart; `born` tells a process from a later one with the same `pid`; `since`
    and `seen` are the holder's own clock, for people only.
    """

    run: str
    host: str
    pid: int
    machine: str
    born: str
    since: str
    seen: str
    beat: int = 0

    @classmethod
    def myself(cls, run: str) -> Self:
        """This process, working as `run`."""
        now, pid = _now(), os.getpid()
        return cls(run, socket.gethostname(), pid, _machine(), _born(pid) or "", now, now)

    @property
    def is_local(self) -> bool:
        """Whether it runs where this process does."""
        return self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """Whether it ran on this machine and does not any more; of other machines nothing is known."""
        return self.is_local and _born(self.pid) != self.born

    @property
    def is_silent(self) -> bool:
        """Whether it has not beaten for long, by two machines' clocks: good enough to show, not to act upon."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.seen)).total_seconds() > _LONG_SECONDS

    def __str__(self) -> str:
        return f"run {self.run}, process {self.pid} on {self.host}, since {self.since}"


class Lease:
    """Hold a table's lease while the context lasts; a thread keeps it alive.

    Args:
        location: the table, which need not exist yet.
        run: name of the run that holds it.
        wait: seconds to wait for a living holder to finish. For a silent one there is always waited as long as it
            takes to see whether it lives.
        beat: seconds between beats.
        patience: seconds without a beat after which a holder elsewhere counts as dead.
        progress: how far the holder is, as JSON can hold it; written with every beat, for `read_progress`.

    Raises:
        LeaseError: on entering: another driver is at work. From `check`: another driver took over.
        TableError: the storage refused.
    """

    def __init__(
        self,
        location: TableLocation,
        run: str,
        *,
        wait: float = 0.0,
        beat: float = BEAT_SECONDS,
        patience: float = PATIENCE_SECONDS,
        progress: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self._table, self._location = location, location.sibling("lease")
        self._wait, self._beat, self._patience = wait, beat, patience
        self._mine, self._progress = Holder.myself(run), progress
        self._lost: Holder | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()
        try:
            dataset = self._open()
            if _holder(dataset) == self._mine:
                self._put(dataset, None)
        except TableError as second:
            logger.warning("the lease of %s could not be given back, it will expire: %s", self._table, second)

    def check(self) -> None:
        """Find out whether the lease is still ours."""
        if self._lost is not None:
            raise LeaseError(
                f"{self._table} was taken over by {self._lost} while this run was silent; "
                "what it had committed stays: run the command again when the other has ended"
            )

    def _acquire(self) -> None:
        began = last_change = time.monotonic()
        first = seen = _holder(self._open())
        while True:
            dataset = self._open()
            held = _holder(dataset)
            now = time.monotonic()
            if held != seen:
                seen, last_change = held, now
            if held is None or held.is_gone or now - last_change >= self._patience:
                if self._put(dataset, self._mine, {_LEFT: dataset.config().get(_PROGRESS, "")}):
                    self._tidy()
                    return
                continue
            alive = held.is_local or held != first
            if alive and now - began >= max(self._wait, _GRACE_SECONDS):
                raise LeaseError(
                    f"{self._table} is being written by {held}: wait for it to end (--wait SECONDS) or stop it there"
                )
            time.sleep(min(_POLL_SECONDS, self._beat / 2))

    def _open(self) -> lance.LanceDataset:
        return create_dataset(self._location, _SCHEMA)[0]

    def _keep(self) -> None:
        """Beat until closed, or until somebody else holds the lease."""
        while not self._closed.wait(self._beat):
            try:
                dataset = self._open()
                held = _holder(dataset)
                if held is None or (held.run, held.born) != (self._mine.run, self._mine.born):
                    self._lost = held or self._mine
                    return
                following = replace(self._mine, seen=_now(), beat=self._mine.beat + 1)
                if self._put(dataset, following):
                    self._mine = following
                if following.beat % _BEATS_KEPT == 0:
                    self._tidy()
            except TableError as error:
                logger.warning("the lease of %s could not be renewed, trying again: %s", self._table, error)

    def _put(self, dataset: lance.LanceDataset, holder: Holder | None, more: Mapping[str, str] | None = None) -> bool:
        """Write the holder over what `dataset` shows; False if somebody else was first."""
        value = "" if holder is None else json.dumps(asdict(holder))
        with storage_errors("write the lease of", self._table):
            try:
                dataset.update_config({_KEY: value, _PROGRESS: self._how_far(holder), **(more or {})})
            except OSError:
                held = _holder(self._open())
                if held == holder:
                    return True  # the answer was lost, not the update
                if held == _holder(dataset):
                    raise
                return False
        return True

    def _how_far(self, holder: Holder | None) -> str:
        if holder is None or self._progress is None:
            return ""
        return json.dumps({"run": holder.run, **self._progress()})

    def _tidy(self) -> None:
        with storage_errors("clean up the lease of", self._table):
            self._open().cleanup_old_versions(older_than=timedelta(0))


def read_holder(location: TableLocation) -> Holder | None:
    """Who holds the table's lease, or held it when it died; None: nobody."""
    dataset = open_dataset(location.sibling("lease"))
    return None if dataset is None else _holder(dataset)


def read_progress(location: TableLocation) -> dict[str, Any] | None:
    """How far the table's holder was when it last beat, and its ``run``; None: nobody holds it, or does not tell."""
    dataset = open_dataset(location.sibling("lease"))
    text = None if dataset is None else dataset.config().get(_PROGRESS)
    return json.loads(text) if text else None


def read_last_told(location: TableLocation) -> dict[str, dict[str, Any]]:
    """Run → how far it was when it last beat: of the table's holder, and of the one before it if that one died."""
    dataset = open_dataset(location.sibling("lease"))
    config = {} if dataset is None else dataset.config()
    told = [json.loads(config[key]) for key in (_LEFT, _PROGRESS) if config.get(key)]
    return {each["run"]: each for each in told}


def _holder(dataset: lance.LanceDataset) -> Holder | None:
    text = dataset.config().get(_KEY)
    return Holder(**json.loads(text)) if text else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _machine() -> str:
    """Host, boot and process namespace: equal only where process ids mean the same processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str | None:
    """When the process started, in ticks since boot (which no clock can move); None: there is no such process."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return _exists(pid)
    return None if state in "ZX" else fields[18]


def _exists(pid: int) -> str | None:
    """Where there is no /proc: an empty string for a living process."""
    if Path("/proc/self").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""
