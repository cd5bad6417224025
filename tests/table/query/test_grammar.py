"""Conditions as people type them."""

from __future__ import annotations

import pytest

from pipeline.errors import UsageError
from pipeline.table.query.grammar import parse_conditions


@pytest.mark.parametrize(
    ("texts", "where"),
    [
        ([], []),
        (["a=1"], [{"a": {"in": ["1"]}}]),
        (["a=1", "a=2", "b=3"], [{"a": {"in": ["1", "2"]}}, {"b": {"in": ["3"]}}]),
        (["a!=1", "a!=2"], [{"a": {"not_in": ["1", "2"]}}]),
        (["year >= 1990", "year<2000"], [{"year": {"gte": "1990", "lt": "2000"}}]),
        (["a==1", "a == 2"], [{"a": {"in": ["1", "2"]}}]),
        (["a<=1", "b>1"], [{"a": {"lte": "1"}}, {"b": {"gt": "1"}}]),
        (["a=x = y >= z"], [{"a": {"in": ["x = y >= z"]}}]),
        (["a="], [{"a": {"in": [""]}}]),
        (["a is null", "b IS NOT NULL"], [{"a": {"eq": None}}, {"b": {"ne": None}}]),
        (["a=1", "a is null"], [{"a": {"in": ["1"]}}, {"a": {"eq": None}}]),
        (["title=what is null"], [{"title": {"in": ["what is null"]}}]),
        (["two words=1"], [{"two words": {"in": ["1"]}}]),
        (['{"or": [{"a": 1}]}', "b=2"], [{"b": {"in": ["2"]}}, {"or": [{"a": 1}]}]),
    ],
)
def test_what_is_typed_becomes_a_condition(texts, where):
    assert parse_conditions(texts) == where


@pytest.mark.parametrize(
    "text", ["a", "=1", ">= 3", "", "is null", "{", "[1]", '{"a": ', "{" * 100_000, '{"a": 1, "a": 2}', "x" * 100_000]
)
def test_what_is_no_condition_is_refused_in_one_line(text):
    with pytest.raises(UsageError, match="--where") as raised:
        parse_conditions([text])
    assert len(str(raised.value)) < 400


def test_two_bounds_of_one_kind_contradict():
    with pytest.raises(UsageError, match="another bound of this kind is '1'"):
        parse_conditions(["a>1", "a>2"])
