"""Queries that wait are encoded together, and each gets its own vector."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.service.batcher import Batcher, TooManyWaitingError


def run(scenario, *, seconds=0.05, most=32, waiting=100, encode=None):
    """Run ``scenario(batcher)``; the sizes of the batches, and what it gives."""
    sizes = []

    def slow(texts):
        time.sleep(seconds)
        return np.array([[float(text)] for text in texts])

    async def all_of_it():
        with ThreadPoolExecutor(1) as executor:
            batcher = Batcher(
                encode or slow, asyncio.Lock(), executor, most=most, waiting=waiting, observe=sizes.append
            )
            return await scenario(batcher)

    return sizes, asyncio.run(all_of_it())


async def one(batcher, text):
    """The vector of a query."""
    (vector,), _ = await batcher.encode([text])
    return vector


def test_a_query_alone_is_encoded_alone_and_those_behind_it_together():
    async def scenario(batcher):
        first = asyncio.create_task(one(batcher, "0"))
        await asyncio.sleep(0.01)
        rest = await asyncio.gather(*(one(batcher, str(number)) for number in range(1, 41)))
        return [(await first).item(), *(vector.item() for vector in rest)]

    sizes, values = run(scenario)
    assert values == list(range(41))
    assert sizes == [1, 32, 8]


def test_queries_of_one_caller_are_encoded_together_in_their_order():
    async def scenario(batcher):
        vectors, together = await batcher.encode([str(number) for number in range(40)])
        return [vector.item() for vector in vectors], together, await batcher.encode([])

    sizes, found = run(scenario)
    assert found == (list(range(40)), 32, ([], 0))
    assert sizes == [32, 8]


def test_queries_of_one_caller_are_refused_together_and_go_together():
    async def scenario(batcher):
        with pytest.raises(TooManyWaitingError):
            await batcher.encode(["1"] * 9)
        first = asyncio.create_task(one(batcher, "0"))
        await asyncio.sleep(0.01)
        several = asyncio.create_task(batcher.encode(["1"] * 8))
        await asyncio.sleep(0)
        several.cancel()
        return (await first).item(), (await one(batcher, "2")).item()

    assert run(scenario, waiting=8) == ([1, 1], (0, 2))


def test_an_error_reaches_every_query_of_its_batch_and_no_other():
    def encode(texts):
        if "bad" in texts:
            raise ValueError("no such text")
        return np.zeros((len(texts), 1))

    async def scenario(batcher):
        several = await asyncio.gather(*(one(batcher, text) for text in ("a", "bad")), return_exceptions=True)
        return [*several, await one(batcher, "b")]

    _, (first, second, third) = run(scenario, encode=encode)
    assert isinstance(first, ValueError)
    assert isinstance(second, ValueError)
    assert third.shape == (1,)


def test_a_caller_that_went_away_costs_nothing_and_blocks_nobody():
    async def scenario(batcher):
        first = asyncio.create_task(one(batcher, "0"))
        await asyncio.sleep(0.01)
        gone = [asyncio.create_task(one(batcher, "1")) for _ in range(5)]
        kept = asyncio.create_task(one(batcher, "2"))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        return (await first).item(), (await kept).item()

    sizes, values = run(scenario)
    assert values == (0, 2)
    assert sizes == [1, 1]


def test_a_full_queue_refuses():
    async def scenario(batcher):
        tasks = [asyncio.create_task(one(batcher, "1")) for _ in range(20)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return sum(isinstance(each, TooManyWaitingError) for each in found)

    _, refused = run(scenario, waiting=8)
    assert refused == 12


def test_batchers_of_one_replica_take_turns():
    active, most_active = 0, 0

    def encode(texts):
        nonlocal active, most_active
        active += 1
        most_active = max(most_active, active)
        time.sleep(0.01)
        active -= 1
        return np.zeros((len(texts), 1))

    async def all_of_it():
        lock = asyncio.Lock()
        with ThreadPoolExecutor(4) as executor:
            pair = [Batcher(encode, lock, executor, most=4, waiting=99, observe=lambda _: None) for _ in range(2)]
            await asyncio.gather(*(one(batcher, "1") for batcher in pair for _ in range(10)))

    asyncio.run(all_of_it())
    assert most_active == 1


def test_an_unexpected_number_of_vectors_is_an_error():
    with pytest.raises(ValueError, match="zip"):
        run(lambda batcher: one(batcher, "1"), encode=lambda texts: np.zeros((0, 1)))
