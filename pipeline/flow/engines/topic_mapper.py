"""Topic work on a Ray cluster: a task for each unit of the table, a few of them in flight, parts as they come.

What all tasks need (centroids, keys of assigned documents, vocabulary) is put into the object store once. A task writes
its rows where the table is and gives back what the driver commits; one that dies is run again, and what it had written
without being committed is an orphan file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ray
from ray.exceptions import RayError

from pipeline.flow.engines.cluster import cluster, unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.topics.operations.assign import Part, Unit, Work

__all__ = ["on_ray"]

AHEAD: Final = 2
"""Tasks given out beyond those that can run, so that no core waits for the driver."""

RETRIES: Final = 3


def on_ray(work: Work, units: Sequence[Unit]) -> Iterator[Part]:
    """A `pipeline.topics.operations.assign.Mapper`: one core a unit, parts in the order in which they are done.

    Raises:
        MoeeError: what a task raised.
        RunError: a task could not be run.
    """
    if not units:
        return
    with cluster():
        task: Any = ray.remote(_work).options(num_cpus=1, max_retries=RETRIES)
        shared, waiting = ray.put(work), list(reversed(units))
        running: list[Any] = []
        try:
            while waiting or running:
                while waiting and len(running) < _most():
                    running.append(task.remote(shared, waiting.pop()))
                done, running = ray.wait(running, num_returns=1)
                yield _part(done[0])
        finally:
            for task in running:
                ray.cancel(task, force=True)


def _most() -> int:
    return int(ray.cluster_resources().get("CPU", 1)) + AHEAD


def _part(done: Any) -> Part:
    try:
        return ray.get(done)
    except (RayError, OSError, ValueError, RuntimeError) as error:
        raise unwrapped(error) from error


def _work(work: Work, unit: Unit) -> Part:
    return work(unit, 1)
