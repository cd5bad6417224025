"""The engine for clusters: Ray Data streams units through tasks that read, actors that embed and tasks that write."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import ray
from ray.data import ActorPoolStrategy, TaskPoolStrategy
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.flow.encoder import Calibrated, calibrate
from pipeline.flow.engines.base import Pool, Replicas
from pipeline.flow.engines.cluster import await_resources, cluster, light_cpus, quiet_data, replica_resources, unwrapped
from pipeline.flow.engines.feed import Feed
from pipeline.flow.parcel import Parcel
from pipeline.flow.poison.tracker import Tracker
from pipeline.flow.watching.ray_metrics import RayMetrics
from pipeline.logs import at_work_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from pipeline.flow.encoder import EncoderPlan
    from pipeline.flow.plan import Plan, SizedPlan
    from pipeline.flow.poison.items import Item, Watch
    from pipeline.flow.stages import EmbedStage, ReadStage, Stages
    from pipeline.metrics import MetricValue
    from pipeline.table import TableLocation

__all__ = ["RayEngine"]

MAX_FRAGMENTS: Final = 1024
"""About the number of fragments that a run writes with one parcel each; longer runs get larger fragments."""

MAX_PARCELS_PER_FRAGMENT: Final = 16
"""As many are lost when everything dies, and as many are held in memory."""

UNITS_PER_READER: Final = 16
"""As many units are worth starting a process for, which takes some 3 s of a core, unless a replica would go idle."""

WRITERS_PER_REPLICA: Final = 2
"""Tasks that write, at most: without a bound Ray Data holds CPUs for more of them."""

TASKS_AHEAD: Final = 2
"""Tasks of `map` given out beyond those that can run, so that no core waits for the driver."""

MAX_RETRIES: Final = 3
"""Deaths of a task of `map` after which the run stops."""

DEATHS_SECONDS: Final = 5.0
"""Time for the tracker to say how many deaths it has seen."""

_FOREVER: Final[Mapping[str, Any]] = {"max_restarts": -1, "max_task_retries": -1}
"""The tracker outlives what dies.

Ray Data gives its pools the same and its tasks ``max_retries=-1`` by itself: what dies is started again and given the
same work again, and the tracker sees to it that this ends. Nothing of ours repeats these names, which 2.60 deprecates
in `map_batches` and 2.64 removes.
"""

_Given = TypeVar("_Given")
_Made = TypeVar("_Made")


class RayEngine:
    """See `pipeline.flow.engines.base.Engine`.

    A worker that hangs is not told from one that is slow: after ``execution_no_progress_timeout_s`` of Ray Data's
    context (1,800 s) without a block from any stage the run stops with an error.

    Args:
        replicas: how many; None: one for each GPU of the cluster, or a single one on CPUs.
        device: as in `embed`.
        start_minutes: for which the cluster may take to give the replicas their room.
    """

    name = "Ray"

    def __init__(self, replicas: Replicas | None = None, device: str = "auto", start_minutes: float = 15.0) -> None:
        self._asked, self._device, self._start_minutes = replicas, device, start_minutes
        self._open = contextlib.ExitStack()
        self._pool: Pool | None = None
        self._resources: dict[str, Any] = {}
        self._watch: _Remote | Tracker = Tracker(None, "")
        self._metrics: RayMetrics | None = None
        self._deaths = 0

    @property
    def pool(self) -> Pool:
        """See `Engine`."""
        assert self._pool is not None
        return self._pool

    def __enter__(self) -> Self:
        can_grow = self._open.enter_context(cluster())
        try:
            self._open.enter_context(quiet_data())
            replicas, self._resources, threads = replica_resources(self._asked, self._device)
            await_resources(replicas, self._resources, self._start_minutes if can_grow else None)
            self._pool = Pool(replicas, threads, on_gpus="num_gpus" in self._resources)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def track(self, location: TableLocation, run: str, *, forgive: bool) -> None:
        """See `Engine`. The tracker is an actor on the driver's machine and ends with the driver."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
        actor: Any = ray.remote(Tracker).options(num_cpus=0, scheduling_strategy=here, **_FOREVER)
        self._watch = _Remote(actor.remote(location, run, forgive=forgive), run)
        self._metrics = RayMetrics(run)

    def calibrate(self, encoder: EncoderPlan, plan: Plan, read: ReadStage) -> Calibrated:
        """See `Engine`. Ray Data starts its actors with its graph, so the replicas load the model again."""
        task: Any = ray.remote(_calibrate).options(**self._resources, max_retries=-1)
        try:
            return ray.get(task.remote(encoder, plan, replace(read, watch=self._watch)))
        except RayError as error:
            raise unwrapped(error) from error

    def parcels(self, sized: SizedPlan, stages: Stages) -> Iterator[Parcel]:
        """See `Engine`."""
        if sized.units == 0:
            return
        feed = Feed.of(sized, 4 * MAX_PARCELS_PER_FRAGMENT + 8 * self.pool.replicas.most)
        dataset = self._graph(feed, stages)
        try:
            for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for parcel in Parcel.from_block(block):
                    yield parcel
                    feed.release(parcel.n_units)
        except RayError as error:
            raise unwrapped(error) from error

    def _graph(self, feed: Feed, stages: Stages) -> ray.data.Dataset:
        replicas, units = self.pool.replicas, feed.sized.units
        most = units or replicas.most
        readers = None if units is None else max(min(replicas.most, units), units // UNITS_PER_READER)
        light: dict[str, Any] = {"num_cpus": light_cpus(), "batch_format": "pyarrow", "zero_copy_batch": True}
        dataset = feed.dataset().map_batches(
            replace(stages.read, watch=self._watch), compute=TaskPoolStrategy(size=readers), batch_size=1, **light
        )
        dataset = dataset.map_batches(
            RayEmbedStage,
            fn_constructor_args=(replace(stages, sample=None), self._watch),
            fn_constructor_kwargs={"sample": None if stages.sample is None else _InStore(ray.put(stages.sample))},
            compute=ActorPoolStrategy(min_size=min(replicas.least, most), max_size=min(replicas.most, most)),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            **self._resources,
        )
        together = MAX_PARCELS_PER_FRAGMENT
        if units is not None:
            together = min(max(units // MAX_FRAGMENTS, 1), MAX_PARCELS_PER_FRAGMENT)
        # Ray warns of a bound above the number of tasks there will be.
        tasks = WRITERS_PER_REPLICA * replicas.most if units is None else -(-units // together)
        writers = min(WRITERS_PER_REPLICA * replicas.most, tasks)
        slots = self._light_slots()
        self._pool = replace(self.pool, readers=min(readers or slots, slots), writers=min(writers, slots))
        return dataset.map_batches(
            replace(stages.write, watch=self._watch),
            compute=TaskPoolStrategy(size=writers),
            batch_size=together,
            **light,
        )

    def _light_slots(self) -> int:
        """How many tasks can read or write beside the replicas."""
        left = ray.cluster_resources().get("CPU", 1.0) - self.pool.replicas.most * self._resources["num_cpus"]
        return max(round(left / light_cpus()), 1)

    def deaths(self) -> int:
        """See `Engine`."""
        with contextlib.suppress(RayError):  # asked at the end of a run, of which the cluster may be the reason
            self._deaths = self._watch.deaths()
        return self._deaths

    def show(self, values: Iterable[MetricValue], *, last: bool = False) -> None:
        """See `Engine`. The agent of the driver's node exports them."""
        if self._metrics is not None:
            self._metrics.show(values, at_once=last)

    def map(self, function: Callable[[_Given], _Made], items: Sequence[_Given]) -> Iterator[_Made]:
        """See `Engine`. One core an item; the function is put into the object store once."""
        task: Any = ray.remote(_apply).options(num_cpus=1, max_retries=MAX_RETRIES)
        most = int(ray.cluster_resources().get("CPU", 1)) + TASKS_AHEAD
        shared, waiting = ray.put(function), list(reversed(items))
        running: list[Any] = []
        try:
            while waiting or running:
                while waiting and len(running) < most:
                    running.append(task.remote(shared, waiting.pop()))
                done, running = ray.wait(running, num_returns=1)
                yield ray.get(done[0])
        except (RayError, OSError, ValueError, RuntimeError) as error:
            raise unwrapped(error) from error
        finally:
            for each in running:
                ray.cancel(each, force=True)


class RayEmbedStage:
    """`Stages.embed` as the class of an actor."""

    def __init__(self, stages: Stages, watch: Watch, *, sample: _InStore | None) -> None:
        self._embed: EmbedStage = stages.embed(
            stages.encoder, watch=watch, sample=None if sample is None else sample.get(), **stages.embed_arguments
        )

    def __call__(self, block: Any) -> Iterator[Any]:
        """See `EmbedStage`."""
        return self._embed(block)


@dataclass(frozen=True, slots=True)
class _InStore:
    """Bytes in Ray's object store."""

    reference: Any

    def get(self) -> bytes:
        return ray.get(self.reference)


class _Remote:
    """The tracker as the workers see it; travels to them."""

    def __init__(self, actor: Any, run: str) -> None:
        self._actor, self._run = actor, run

    @property
    def process(self) -> str:
        return ray.get_runtime_context().get_actor_id() or "task"

    def begin(self, unit: str, stage: str, slices: Sequence[int] = (), sources: Sequence[str] = ()) -> bool:
        at_work_on(run=self._run, unit=unit)
        return _answer(self._actor.begin.remote(unit, stage, list(slices), list(sources)))

    def announce(self, unit: str, item: Item) -> int:
        return _answer(self._actor.announce.remote(unit, item))

    def announce_many(self, unit: str) -> None:
        _answer(self._actor.announce_many.remote(unit))

    def end(self, unit: str) -> None:
        _answer(self._actor.end.remote(unit))

    def deaths(self) -> int:
        return ray.get(self._actor.deaths.remote(), timeout=DEATHS_SECONDS)


def _answer(call: Any) -> Any:
    """Wait without `ray.get`, which would lend this worker's CPU to others until the answer is there."""
    return call.future().result()


def _calibrate(encoder: EncoderPlan, plan: Plan, read: ReadStage) -> Calibrated:
    return calibrate(encoder, read.parcels_of(plan), read.watch)[0]


def _apply(function: Callable[[_Given], _Made], item: _Given) -> _Made:
    return function(item)
