"""The engine for one machine: processes of its own, without Ray.

    driver ─ units ─▶ reader ─ parcels ─▶ driver ─ parcels ─▶ replicas, which embed and write ─ descriptions ─▶ driver

The driver passes parcels on as the bytes that they are. It listens to the reader only while few parcels wait, and gives
it a unit only when it has read the last one, so that what is in flight is bounded by a few units, however slow the
replicas or the commits are. What a process is working on stays with the driver until it is done, and is given to the
process that follows when one dies.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pipeline.columns import from_ipc
from pipeline.flow.engines.base import Pool, Replicas
from pipeline.flow.engines.devices import count_gpus
from pipeline.flow.engines.local_process import Worker, listen
from pipeline.flow.engines.local_worker import Applying, Calibrating, Embedding, Reading
from pipeline.flow.parcel import Parcel
from pipeline.flow.poison.tracker import Tracker
from pipeline.mapper import available_cores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from pipeline.flow.encoder import Calibrated, EncoderPlan
    from pipeline.flow.plan import Plan, SizedPlan
    from pipeline.flow.stages import ReadStage, Stages
    from pipeline.metrics import MetricValue
    from pipeline.table import TableLocation

__all__ = ["LocalEngine"]

MAX_WAITING_PARCELS: Final = 2
"""Parcels that wait for each replica, at most; then nothing more is taken from the reader."""

MAX_SILENCE: Final = 1800.0
"""Seconds; as long as Ray Data waits for a graph that does not move."""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class LocalEngine:
    """See `pipeline.flow.engines.base.Engine`.

    Args:
        replicas: how many; of MIN:MAX it takes MAX. None: one for each GPU, or a single one on CPUs.
        device: as in `embed`.
        max_silence: seconds after which a process that neither says a word about its unit nor computes is taken to
            hang: it is killed, which counts as any other death.
    """

    name = "local"
    reader_modules: Sequence[str] = ("pipeline.flow.stages",)
    replica_modules: Sequence[str] = ("pipeline.embedding.encoder", "pipeline.flow.encoder")
    """What its processes import as soon as they are there, while the driver is busy with other things."""

    def __init__(
        self, replicas: Replicas | None = None, device: str = "auto", *, max_silence: float = MAX_SILENCE
    ) -> None:
        gpus = 0 if device == "cpu" else count_gpus()
        most = replicas.most if replicas else max(gpus, 1)
        threads = None if gpus else max(available_cores() // most, 1)
        self.pool = Pool(Replicas(most, most), threads, on_gpus=bool(gpus))
        self._devices = [f"cuda:{number}" for number in range(gpus)] if device != "cpu" and gpus > 1 else [device]
        self._max_silence = max_silence
        self._workers: dict[str, Worker] = {}
        self._tracker, self._run = Tracker(None, ""), ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in list(self._workers.values()):
            self._stop(worker)

    def track(self, location: TableLocation, run: str, *, forgive: bool) -> None:
        """See `Engine`. Processes are started, too: they import while the driver prepares."""
        self._run = run
        self._replica(0)
        self._reader()
        self._tracker = Tracker(location, run, forgive=forgive)

    def calibrate(self, encoder: EncoderPlan, plan: Plan, read: ReadStage) -> Calibrated:
        """See `Engine`. The replica keeps the encoder that it has calibrated."""
        replica = self._replica(0)
        replica.serve(Calibrating(self._placed(encoder, 0), read))
        replica.give(plan)
        (made,) = self._until_done([replica])
        return made

    def parcels(self, sized: SizedPlan, stages: Stages) -> Iterator[Parcel]:
        """See `Engine`."""
        if sized.units == 0:
            return
        most = self.pool.replicas.most
        reader, replicas = self._reader(), [self._replica(at) for at in range(min(sized.units or most, most))]
        reader.serve(Reading(stages.read))
        for at, replica in enumerate(replicas):
            replica.serve(Embedding(replace(stages, encoder=self._placed(stages.encoder, at))))
        try:
            for block in self._through(reader, replicas, (unit.to_json() for unit in sized.plan)):
                yield from Parcel.from_block(from_ipc(block))
        finally:
            for worker in (reader, *replicas):
                if worker.is_busy:
                    self._stop(worker)

    def _through(self, reader: Worker, replicas: Sequence[Worker], units: Iterator[str]) -> Iterator[bytes]:
        """What the replicas make of what the reader makes of the units."""
        parcels: deque[bytes] = deque()
        while True:
            for replica in replicas:
                if parcels and not replica.is_busy:
                    replica.give(parcels.popleft())
            has_room = len(parcels) < MAX_WAITING_PARCELS * len(replicas)
            if has_room and not reader.is_busy and (unit := next(units, None)) is not None:
                reader.give(unit)
            busy = [worker for worker in replicas if worker.is_busy]
            if has_room and reader.is_busy:
                busy.append(reader)
            if not busy:
                return
            for worker in listen(busy):
                made = worker.hear(self._tracker)
                if worker is reader:
                    parcels.extend(made)
                else:
                    yield from made

    def deaths(self) -> int:
        """See `Engine`."""
        return self._tracker.deaths()

    def show(self, values: Iterable[MetricValue], *, last: bool = False) -> None:
        """See `Engine`. There is no place for metrics: `NAME.runs` and ``moee inspect --watch`` have the figures."""

    def map(self, function: Callable[[_Given], _Made], items: Sequence[_Given]) -> Iterator[_Made]:
        """See `Engine`. As many processes as there are cores."""
        workers = [self._worker(f"map {at}") for at in range(min(available_cores(), len(items)))]
        for worker in workers:
            worker.serve(Applying(function))
        left = deque(items)
        try:
            yield from self._until_done(workers, left)
        finally:
            for worker in workers:
                self._stop(worker)

    def _until_done(self, workers: Sequence[Worker], left: deque[Any] | None = None) -> Iterator[Any]:
        """What busy workers make; each that is free is given something of what is `left`."""
        while True:
            for worker in workers:
                if left and not worker.is_busy:
                    worker.give(left.popleft())
            busy = [worker for worker in workers if worker.is_busy]
            if not busy:
                return
            for worker in listen(busy):
                yield from worker.hear(self._tracker)

    def _reader(self) -> Worker:
        return self._worker("reader", self.reader_modules)

    def _replica(self, at: int) -> Worker:
        return self._worker(f"replica {at}", self.replica_modules)

    def _worker(self, name: str, modules: Sequence[str] = ()) -> Worker:
        if name not in self._workers:
            self._workers[name] = Worker(name, modules, self._max_silence, self._run)
        return self._workers[name]

    def _stop(self, worker: Worker) -> None:
        if self._workers.get(worker.name) is worker:  # an iterator that is closed late may find another one there
            del self._workers[worker.name]
        worker.stop()

    def _placed(self, encoder: EncoderPlan, at: int) -> EncoderPlan:
        """The encoder of the replica with number `at`, on a device of its own where there are several."""
        return replace(encoder, device=self._devices[at % len(self._devices)])
