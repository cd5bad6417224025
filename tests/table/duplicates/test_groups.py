from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import UsageError
from pipeline.table.duplicates import pairs as pairs_module
from pipeline.table.duplicates.groups import Copies, groups_table, leaders, pairs_table
from pipeline.table.duplicates.pairs import Pairs


def pairs_of(rows, scores=None):
    rows = np.array(rows, np.int64).reshape(-1, 2)
    return Pairs(rows, np.full(len(rows), 0.99, np.float32) if scores is None else np.array(scores, np.float32))


@given(st.data())
def test_pairs_and_groups_of_rows_are_those_of_their_vectors(data):
    count = data.draw(st.integers(1, 25))
    keys = np.array(data.draw(st.lists(st.integers(0, 8), min_size=count, max_size=count)), np.uint64)
    named = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    documents = np.array(named) if data.draw(st.booleans()) else None
    rows = np.arange(count) * 3
    copies = Copies.of(rows, keys, documents)
    vector = np.searchsorted(copies.firsts, [rows[np.flatnonzero(keys == key)[0]] for key in keys])
    vectors = len(copies.starts)
    ends = st.tuples(st.integers(0, vectors - 1), st.integers(0, vectors - 1))
    near = {(min(pair), max(pair)) for pair in data.draw(st.lists(ends, max_size=10)) if pair[0] != pair[1]}
    expected = {
        (3 * a, 3 * b)
        for a in range(count)
        for b in range(a + 1, count)
        if vector[a] == vector[b] or (min(vector[a], vector[b]), max(vector[a], vector[b])) in near
        if documents is None or documents[a] != documents[b]
    }
    found = copies.pairs(pairs_of(sorted(near)), 0.9)
    assert len(found) == len(expected)
    assert {(int(min(pair)), int(max(pair))) for pair in found.rows} == expected
    common = copies.common_documents()
    linking = [(a, b) for a, b in near if common is None or common[a] != common[b] or common[a] < 0]
    groups = copies.groups(np.array(linking, np.int64).reshape(-1, 2))
    assert {int(row) for row in groups.rows} == {row for pair in expected for row in pair}
    group = dict(zip(map(int, groups.rows), groups.groups, strict=True))
    assert all(group[a] == group[b] for a, b in expected)
    members = {each: {row for row in group if group[row] == each} for each in set(group.values())}
    for inside in members.values():  # held together by its pairs
        reached, waiting = set(), {min(inside)}
        while waiting:
            reached |= waiting
            waiting = {end for pair in expected if reached & {*pair} for end in pair} - reached
        assert reached == inside


def test_ten_thousand_equal_rows_are_a_group_but_too_many_pairs():
    copies = Copies.of(np.arange(10_000), np.zeros(10_000, np.uint64), None)
    assert len(np.unique(copies.groups(np.empty((0, 2), np.int64)).groups)) == 1
    with pytest.raises(UsageError, match=r"more than 5,000,000 pairs"):
        copies.pairs(pairs_of([]), 0.98)
    assert pairs_module.MAX_PAIRS < 10_000 * 9_999 // 2


def test_pairs_come_best_first_then_by_ids_the_lower_id_before():
    ids = pa.array(["d", "é", "b", "a"])
    table = pairs_table(ids, pairs_of([[0, 1], [2, 0], [2, 3]], [0.99, 0.99, 1]))
    assert table.column("a").to_pylist() == ["a", "b", "d"]
    assert table.column("b").to_pylist() == ["b", "d", "é"]


def test_groups_come_by_size_the_lowest_id_is_kept_and_first():
    ids = pa.array(["e", "d", "c", "b", "a"])
    led = leaders(ids, np.array([7, 3, 7, 3, 7]))
    assert led.tolist() == [4, 3, 4, 3, 4]
    table = groups_table(ids, led, np.array([1, 0.99, 0.98, 1, 1], np.float32))
    assert table.column("group").to_pylist() == [0, 0, 0, 1, 1]
    assert table.column("id").to_pylist() == ["a", "e", "c", "b", "d"]
    assert table.column("kept").to_pylist() == [True, False, False, True, False]
