"""Calls made ahead: answers in order, a bound on how many are under way, errors at their turn."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.prefetch import map_ahead


@given(st.lists(st.integers(), max_size=30), st.integers(1, 5))
def test_answers_come_in_order(questions, most):
    assert list(map_ahead(lambda question: question * 2, questions, most)) == [(each, each * 2) for each in questions]


def test_as_many_calls_as_allowed_are_under_way_and_no_more():
    together = threading.Barrier(3, timeout=60)
    under_way, most = 0, 0
    lock = threading.Lock()

    def call(question):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait()  # breaks unless three calls are made side by side
        with lock:
            under_way -= 1
        return question

    assert [answer for _, answer in map_ahead(call, range(9), 3)] == list(range(9))
    assert most == 3


def test_an_error_is_raised_at_its_turn():
    def call(question):
        if question == 2:
            raise ValueError("the third")
        return question

    answers = map_ahead(call, range(5), 4)
    assert [next(answers), next(answers)] == [(0, 0), (1, 1)]
    with pytest.raises(ValueError, match="the third"):
        next(answers)


def test_who_stops_early_asks_little_more():
    asked = []
    answers = map_ahead(asked.append, range(1000), 4)
    next(answers)
    answers.close()
    assert len(asked) <= 4
