"""Queries that arrive while the replica is busy are encoded together, as soon as it is free.

No waiting for a batch to fill: a query that comes alone is encoded alone and at once, and under load batches grow by
themselves (Ray Serve's batching closes a batch when its time is over, even while the one before still runs).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    import numpy as np

__all__ = ["Batcher", "TooManyWaitingError"]


class TooManyWaitingError(Exception):
    """So many queries wait that another one would wait too long."""


class _Waiting(NamedTuple):
    text: str
    encoded: asyncio.Future[tuple[np.ndarray, int]]
    """Its vector, float32 [D], and how many were encoded together."""


class Batcher:
    """Encodes queries for one table.

    Args:
        encode: texts → vectors, float32 [n, D]; called in `executor`, never twice at a time for one `replica`.
        replica: a lock, shared by the batchers of all tables that use one replica.
        executor: where `encode` runs.
        most: queries in a batch.
        waiting: queries that may wait.
        observe: told the size of each batch.
    """

    def __init__(
        self,
        encode: Callable[[list[str]], np.ndarray],
        replica: asyncio.Lock,
        executor: Executor,
        *,
        most: int,
        waiting: int,
        observe: Callable[[int], None],
    ) -> None:
        self._encode, self._replica, self._executor = encode, replica, executor
        self._most, self._waiting_most, self._observe = most, waiting, observe
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def encode(self, texts: Sequence[str]) -> tuple[list[np.ndarray], int]:
        """The vectors of queries, each float32 [D], and in how large a batch they were, at most.

        Raises:
            TooManyWaitingError: the queue has no room for all of them.
        """
        if len(self._waiting) + len(texts) > self._waiting_most:
            raise TooManyWaitingError
        loop = asyncio.get_running_loop()
        some = [_Waiting(text, loop.create_future()) for text in texts]
        self._waiting += some
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        found = await asyncio.gather(*(each.encoded for each in some))
        return [vector for vector, _ in found], max((together for _, together in found), default=0)

    async def _work(self) -> None:
        """Encode until nothing waits."""
        while self._waiting:
            async with self._replica:
                count = min(self._most, len(self._waiting))
                batch = [self._waiting.popleft() for _ in range(count)]
                batch = [each for each in batch if not each.encoded.done()]  # a caller may have gone
                if batch:
                    await self._answer(batch)

    async def _answer(self, batch: list[_Waiting]) -> None:
        self._observe(len(batch))
        try:
            loop = asyncio.get_running_loop()
            vectors = await loop.run_in_executor(self._executor, self._encode, [each.text for each in batch])
            answers = list(zip(vectors, batch, strict=True))
        except Exception as error:  # every caller of the batch is told
            for each in batch:
                if not each.encoded.done():
                    each.encoded.set_exception(error)
            return
        for vector, each in answers:
            if not each.encoded.done():
                each.encoded.set_result((vector, len(batch)))
