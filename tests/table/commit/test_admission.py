"""The vectorised judgements against their plain definitions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.columns import first_alike
from pipeline.table.commit.admission import _staged_twice
from pipeline.table.companions.rejects import one_per_row
from pipeline.table.companions.runs import without_secrets


@given(st.lists(st.text(max_size=2), max_size=20))
def test_the_first_of_equals_is_found(ids):
    assert first_alike(pa.array(ids, pa.string())).tolist() == [ids.index(name) for name in ids]


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=5))
def test_a_slice_belongs_to_the_first_part_that_holds_it(parts):
    slices = np.array([number for part in parts for number in part], np.int64)
    owner = np.array([at for at, part in enumerate(parts) for _ in part], np.int64)
    expected = [any(number in earlier for earlier in parts[:at]) for at, part in enumerate(parts) for number in part]
    assert _staged_twice(slices, owner).tolist() == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), max_size=20))
def test_the_last_reject_of_a_row_counts(places):
    table = pa.table(
        {
            "slice": pa.array([place[0] for place in places], pa.int64()),
            "row": pa.array([place[1] for place in places], pa.int64()),
            "n": pa.array(range(len(places)), pa.int64()),
        }
    )
    last = {place: at for at, place in enumerate(places)}
    assert sorted(one_per_row(table).column("n").to_pylist()) == sorted(last.values())


def test_secrets_are_left_out():
    command = {"api_key": "x", "hf_token": "x", "max_tokens": 3, "tokenizer": "t", "a": [{"password": "x", "b": None}]}
    assert without_secrets(command) == {"max_tokens": 3, "tokenizer": "t", "a": [{"b": None}]}
