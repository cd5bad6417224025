from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.embedding.batches import MIN_BATCH_TOKENS, plan_batches

lengths = st.lists(st.integers(1, 700), max_size=80).map(lambda values: np.array(values, dtype=np.int64))
layouts = st.sampled_from(["packed", "padded"])


def cost(batch, layout):
    return batch.sum() if layout == "packed" else len(batch) * batch.max()


@given(lengths, st.integers(1, 4000), layouts)
def test_every_text_is_in_exactly_one_batch(lengths, budget, layout):
    batches = plan_batches(lengths, budget, layout)
    assert sorted(np.concatenate([np.zeros(0, int), *batches])) == list(range(len(lengths)))


@given(lengths, st.integers(1, 4000), layouts)
def test_the_budget_is_kept_and_an_over_long_text_is_alone(lengths, budget, layout):
    for batch in plan_batches(lengths, budget, layout):
        assert cost(lengths[batch], layout) <= budget or len(batch) == 1


@given(lengths, st.integers(1, 4000), layouts)
def test_no_batch_could_have_taken_the_next_text(lengths, budget, layout):
    batches = plan_batches(lengths, budget, layout)
    for batch, following in pairwise(batches):
        assert cost(lengths[np.append(batch, following[0])], layout) > budget


@given(lengths, st.integers(1, 4000), layouts, st.integers(2, 8))
def test_batches_abreast_hold_every_text_once_within_the_budget(lengths, budget, layout, parallel):
    batches = plan_batches(lengths, budget, layout, parallel)
    assert sorted(np.concatenate([np.zeros(0, int), *batches])) == list(range(len(lengths)))
    assert all(cost(lengths[batch], layout) <= budget or len(batch) == 1 for batch in batches)


def test_few_texts_are_shared_out_and_many_leave_nobody_idle():
    even = np.full(64, 64)
    assert [len(batch) for batch in plan_batches(even, 8192, parallel=2)] == [32, 32]
    assert len(plan_batches(even, 8192, parallel=8)) == 64 * 64 // MIN_BATCH_TOKENS
    assert len(plan_batches(even[:8], 8192, parallel=8)) == 1
    assert len(plan_batches(np.full(300, 64), 8192, parallel=2)) == 4
    assert len(plan_batches(np.full(300, 64), 8192)) == 3


def test_longest_first_and_stable():
    batches = plan_batches(np.array([3, 9, 3, 9]), 12)
    assert [batch.tolist() for batch in batches] == [[1], [3, 0], [2]]
