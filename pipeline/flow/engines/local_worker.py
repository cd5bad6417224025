"""A worker process of the local engine: it serves one thing at a time, and tells the driver what it is about to do.

    driver ── service ─▶ worker        built once, kept for all items that follow
           ── item ────▶               ─▶ tell, tell, … made, made, … done, or failed
           ◀─ tell ── (answered at once by the tracker, which lives in the driver)

It is started by its own command and not by `multiprocessing`, which would run the driver's script once more. It dies
with the driver, is the first to go when memory ends, and leaves Ctrl-C to the driver.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from pipeline.logs import at_work_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pipeline.embedding.encoder import Encoder
    from pipeline.flow.encoder import EncoderPlan
    from pipeline.flow.plan import Plan
    from pipeline.flow.poison.items import Item, Watch
    from pipeline.flow.stages import ReadStage, Stages

__all__ = ["Applying", "Calibrating", "Embedding", "Reading", "Service", "main"]

SERVICE: Final = "service"
ITEM: Final = "item"
DONE: Final = "done"
"""The item, or the building of the service, is complete."""
MADE: Final = "made"
"""A result."""
FAILED: Final = "failed"
"""An exception: whether it is a MoeeError, its class, its message, the traceback."""
TELL: Final = "tell"
"""A call of the tracker, which wants an answer."""

PARENT_SECONDS: Final = 1.0
"""How often a worker looks whether its driver lives, where the kernel does not say so."""

_PR_SET_PDEATHSIG: Final = 1
_SIGKILL: Final = 9


@dataclass(slots=True)
class Kept:
    """What stays in a worker when another service follows: the encoder that was built last."""

    plan: EncoderPlan | None = None
    encoder: Encoder | None = None


class Service(Protocol):
    """What a worker does with items; travels to it."""

    def start(self, watch: Watch, kept: Kept, /) -> Callable[[Any], Iterator[Any]]:
        """Build it."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """Work units as JSON → parcels with their tokens (blocks as Arrow IPC), each as it is read."""

    read: ReadStage

    def start(self, watch: Watch, _kept: Kept, /) -> Callable[[str], Iterator[Any]]:
        """See `Service`."""
        from pipeline.columns import to_ipc
        from pipeline.corpus import WorkUnit

        read = replace(self.read, watch=watch)
        return lambda unit: (to_ipc(parcel.to_block()) for parcel in read.parcels(WorkUnit.from_json(unit)))


@dataclass(frozen=True, slots=True)
class Embedding:
    """Parcels with tokens → parcels that describe what was written of them; both are blocks as Arrow IPC."""

    stages: Stages

    def start(self, watch: Watch, kept: Kept, /) -> Callable[[Any], Iterator[Any]]:
        """See `Service`. An encoder that was built before goes on, if it is the one that is asked for."""
        from pipeline.columns import from_ipc, to_ipc
        from pipeline.flow.encoder import build_watched

        stages = self.stages
        if kept.plan != stages.encoder:
            kept.plan = kept.encoder = None  # its memory is free for the next one
            kept.encoder = build_watched(stages.encoder, watch)
            kept.plan = stages.encoder
        embed = stages.embed(kept.encoder, watch=watch, sample=stages.sample, **stages.embed_arguments)
        write = replace(stages.write, watch=watch)
        return lambda block: (to_ipc(write(embedded)) for embedded in embed(from_ipc(block)))


@dataclass(frozen=True, slots=True)
class Calibrating:
    """A plan → what `calibrate` makes of it."""

    encoder: EncoderPlan
    read: ReadStage

    def start(self, watch: Watch, kept: Kept, /) -> Callable[[Plan], Iterator[Any]]:
        """See `Service`."""
        from pipeline.flow.encoder import calibrate

        def work(plan: Plan) -> Iterator[Any]:
            parcels = replace(self.read, watch=watch).parcels_of(plan)
            made, encoder = calibrate(self.encoder, parcels, watch)
            kept.plan, kept.encoder = replace(self.encoder, calibration=made.calibration), encoder
            yield made

        return work


@dataclass(frozen=True, slots=True)
class Applying:
    """Items → what a function makes of each."""

    function: Callable[[Any], Any]

    def start(self, _watch: Watch, _kept: Kept, /) -> Callable[[Any], Iterator[Any]]:
        """See `Service`."""
        return lambda item: iter([self.function(item)])


@dataclass(slots=True)
class _PipeWatch:
    """The tracker, at the other end of the pipe."""

    process: str
    run: str
    connection: Connection
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, unit: str, stage: str, slices: Sequence[int] = (), sources: Sequence[str] = ()) -> bool:
        at_work_on(run=self.run, unit=unit)
        return self._ask("begin", unit, stage, list(slices), list(sources))

    def announce(self, unit: str, item: Item) -> int:
        return self._ask("announce", unit, item)

    def announce_many(self, unit: str) -> None:
        self._ask("announce_many", unit)

    def end(self, unit: str) -> None:
        self._ask("end", unit)

    def _ask(self, method: str, *arguments: Any) -> Any:
        with self.lock:
            self.connection.send((TELL, method, arguments))
            return self.connection.recv()


def main(descriptor: int, driver: int, name: str, run: str, modules: Sequence[str]) -> None:
    """Serve until the driver closes its end.

    Args:
        descriptor: of the socket to the driver.
        driver: its process id.
        name: of this process, for the tracker.
        run: named in logs; empty: it works for none.
        modules: what it will need: imported while the driver does other things.
    """
    _die_with(driver)
    _be_first_to_go()
    connection = Connection(descriptor)
    watch, kept = _PipeWatch(name, run, connection), Kept()
    for module in modules:
        with contextlib.suppress(ImportError):  # it will be imported again, and the error told, where it is needed
            import_module(module)
    with contextlib.suppress(OSError):  # the driver has closed its end
        _serve(connection, watch, kept)


def _serve(connection: Connection, watch: Watch, kept: Kept) -> None:
    work: Callable[[Any], Iterator[Any]] | None = None
    while True:
        try:
            kind, given = connection.recv()
        except EOFError:
            return
        except (AttributeError, ImportError) as error:  # what was sent is of a module that is not here
            connection.send((FAILED, *_described(error)))
            continue
        try:
            if kind == SERVICE:
                work = None  # its memory is free for the next one
                work = given.start(watch, kept)
            else:
                assert work is not None
                for made in work(given):
                    connection.send((MADE, made))
        except Exception as error:
            connection.send((FAILED, *_described(error)))
        else:
            connection.send((DONE,))
        given = None


def _described(error: Exception) -> tuple[bool, str, str, str]:
    from pipeline.errors import MoeeError

    return isinstance(error, MoeeError), type(error).__name__, str(error), traceback.format_exc()


def _die_with(driver: int) -> None:
    """End this process when the driver does: at once where the kernel can be asked to, else within a second."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    else:
        threading.Thread(target=partial(_watch_parent, driver), daemon=True).start()
    if os.getppid() != driver:
        os._exit(1)


def _watch_parent(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _be_first_to_go() -> None:
    """Let the kernel end this process and not the driver when memory is short."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
