"""Questions to an object store, which answers one about a small file in 10 to 50 ms: several at a time, in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ahead"]

AT_ONCE: Final = 16

Q = TypeVar("Q")
A = TypeVar("A")


def ahead(call: Callable[[Q], A], questions: Iterable[Q], most: int = AT_ONCE) -> Iterator[tuple[Q, A]]:
    """Each question with ``call(question)``, in order; up to `most` calls are under way in threads of their own.

    What a call raises is raised when its turn comes. Whoever stops early waits for the calls that are under way.
    """
    waiting: deque[tuple[Q, Future[A]]] = deque()
    with ThreadPoolExecutor(most) as pool:
        try:
            for question in questions:
                waiting.append((question, pool.submit(call, question)))
                if len(waiting) == most:
                    first, answer = waiting.popleft()
                    yield first, answer.result()
            while waiting:
                first, answer = waiting.popleft()
                yield first, answer.result()
        finally:
            for _, answer in waiting:
                answer.cancel()
