from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.table.indexes.choice import MIN_BYTES, choose_indexes, vector_index
from pipeline.table.schema import schema_metadata, table_schema


@pytest.mark.parametrize(
    ("rows", "dimension", "kind"),
    [(90_000, 256, None), (100_000, 256, "IVF_RQ"), (24_000, 1024, None), (25_000, 1024, "IVF_RQ"), (10**6, 11, None),
     (3 * 10**6, 11, "IVF_SQ")],
)  # fmt: skip
def test_vectors_are_indexed_by_their_bytes(rows, dimension, kind):
    chosen = vector_index(rows, dimension)
    assert chosen.kind == kind
    assert bool(chosen.why_not) == (kind is None)
    if kind == "IVF_RQ":
        assert chosen.parameters == {"metric": "cosine", "num_bits": 5, "target_partition_size": 4096}


@given(st.integers(0, 10**9), st.integers(1, 4096))
def test_a_vector_index_is_of_enough_bytes_and_fits_its_dimension(rows, dimension):
    chosen = vector_index(rows, dimension)
    assert (chosen.kind is not None) == (2 * rows * dimension >= MIN_BYTES)
    assert chosen.kind != "IVF_RQ" or dimension % 8 == 0


def test_one_row_is_never_divided():
    assert vector_index(1, 8, min_bytes=0).kind is None


def schema(*kept, chunked=False):
    keep = pa.schema([(f"k{at}", kind) for at, kind in enumerate(kept)])
    reader = {"chunk": "64:8"} if chunked else {}
    metadata = schema_metadata(
        spec="", meaning={}, calibration="", fingerprint="", reader=reader, halves=(5, 3)
    )  # fmt: skip
    return table_schema(8, keep, metadata, chunked=chunked)


def test_what_rows_are_asked_for_by_is_indexed_and_the_rest_says_why_not():
    choices = choose_indexes(schema(), 100)
    assert {name: choice.kind for name, choice in choices.items() if choice.kind} == {
        "id": "BTREE", "source": "BTREE", "text": "INVERTED",
    }  # fmt: skip
    assert all(choice.why_not for choice in choices.values() if not choice.kind)
    assert list(choices) == schema().names


def test_documents_of_chunks_are_indexed():
    choices = choose_indexes(schema(chunked=True), 100)
    assert choices["doc_id"].kind == "BTREE"
    assert choices["chunk"].kind is None


@pytest.mark.parametrize(
    ("kind", "few", "many"),
    [
        (pa.string(), "BITMAP", "BTREE"),
        (pa.int64(), "BITMAP", "BTREE"),
        (pa.bool_(), "BITMAP", "BTREE"),
        (pa.timestamp("us", "UTC"), "BITMAP", "BTREE"),
        (pa.list_(pa.string()), "LABEL_LIST", "LABEL_LIST"),
        (pa.list_(pa.struct({"a": pa.int64()})), None, None),
        (pa.list_(pa.float32(), 3), None, None),
        (pa.struct({"a": pa.int64()}), None, None),
        (pa.binary(), None, None),
    ],
    ids=str,
)
def test_metadata_is_indexed_by_type_and_number_of_values(kind, few, many):
    for answer, wanted in ((True, few), (False, many)):
        chosen = choose_indexes(schema(kind), 100, has_few_values=lambda _, answer=answer: answer)["k0"]
        assert chosen.kind == wanted
        assert bool(chosen.why_not) == (wanted is None)


def test_an_empty_table_gets_none():
    assert {choice.kind for choice in choose_indexes(schema(), 0).values()} == {None}
