"""Batches in parallel, for CPUs: each is computed on a core of its own.

If every operation is split among the cores, they wait for each other thousands of times in a batch, and any other
process that takes one core for a moment holds up all of them. GNU OpenMP also stops spinning where a process has more
threads than there are cores, as Ray's processes have. Built-in model, two cores: 27,000 tokens/s with two threads for
each operation, 20,000 of the same in a Ray actor; 35,000 with two batches in parallel, 33,000 in a Ray actor.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Final, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Workers"]

Result = TypeVar("Result")

MAX_WORKERS: Final = 8
"""Threads that compute batches; further cores help within operations, since all threads share Python's lock.

Chosen, not measured.
"""

MAX_START_SECONDS: Final = 60.0
"""A thread that has not started by then is an error, so that nothing waits for it forever."""


class Workers:
    """As many worker threads as torch has threads, up to `MAX_WORKERS`; each uses its share of torch's threads."""

    def __init__(self) -> None:
        threads = torch.get_num_threads()
        self.count = min(threads, MAX_WORKERS)
        self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="replica")
        started = Barrier(self.count + 1, timeout=MAX_START_SECONDS)

        def start() -> None:
            torch.get_num_threads()  # the first call in a thread sets its number to the default
            torch.set_num_threads(threads // self.count)
            started.wait()

        for _ in range(self.count):
            self._pool.submit(start)
        started.wait()
        torch.set_num_threads(threads)  # holds for this thread and for those started later

    def submit(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Start `work`; the function returned waits for its result, or raises what it raised."""
        return self._pool.submit(work).result
