from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.keys import Keys, document_keys


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=30))
def test_keys_hold_the_documents_that_they_were_made_of(one, other):
    def keys(slices):
        return document_keys(pa.array(["same"] * len(slices), pa.string()), pa.array(slices, pa.int64()))

    held = Keys.of([keys(one)])
    assert held.holds(keys(one)).all()
    assert held.holds(keys(other)).tolist() == [of in one for of in other]


def test_a_document_is_another_one_when_its_slice_is():
    ids = pa.array([str(number) for number in range(1000)])
    none, first, second = pa.nulls(1000, pa.int64()), pa.array(np.arange(1000)), pa.array(np.arange(1000) + 1)
    keys = np.concatenate([document_keys(ids, slices) for slices in (none, first, second)])
    assert len(np.unique(keys)) == 2999  # null is slice 0


def test_keys_are_the_same_on_every_machine_and_forever():
    keys = document_keys(pa.array(["a#0", "ä"]), pa.array([1, -2]))
    assert keys.tolist() == [3815487655894717402, 15600255421567335388]
    assert (keys == document_keys(pa.chunked_array([["a#0"], ["ä"]]), pa.chunked_array([[1], [-2]]))).all()
