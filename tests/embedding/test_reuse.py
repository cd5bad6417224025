"""Equal texts are embedded once, and every document keeps its own row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.embedding.table_rows import embed_documents
from pipeline.embedding.tokens import Tokens
from pipeline.embedding.vectors import Vectors

DIM = 3


class CountingEncoder:
    """A text's vector is its first token; token 13 cannot be embedded."""

    dimension = DIM

    def __init__(self):
        self.embedded = []

    def vectors_of(self, tokens):
        firsts = tokens.ids[np.cumsum(tokens.lengths) - tokens.lengths]
        if 13 in firsts:
            raise RuntimeError("thirteen")
        self.embedded += firsts.tolist()
        norms = firsts.astype(np.float32)
        vectors = np.repeat(norms[:, None], DIM, axis=1)
        return Vectors(vectors, norms, -norms, tokens.lengths.astype(np.int32), tokens.truncated)


class Store:
    def __init__(self, known):
        self.known = known

    def find(self, texts, columns):
        rows = [text for text in texts.to_pylist() if text in self.known]
        count = len(rows)
        made = {
            "text": pa.array(rows, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(np.full(count * DIM, 99, np.float16)), DIM),
            "hs_norm": pa.array([7] * count, pa.float32()),
            "rw_norm": pa.array([7] * count, pa.float32()),
            "n_tokens": pa.array([7] * count, pa.int32()),
            "truncated": pa.array([False] * count, pa.bool_()),
        }
        table = pa.table(made)
        stored = pa.schema([field.with_nullable(field.name != "vector") for field in table.schema])
        return table.cast(stored).select(["text", *columns])


def embed(words, known=None):
    """Documents whose texts are `words`, numbers in letters; vectors' first entries, rejects, what was embedded."""
    count = len(words)
    documents = pa.table({
        "id": [f"d{n}" for n in range(count)], "text": pa.array(list(words), pa.large_string()),
        "source": ["s"] * count,
        "slice": pa.array([1] * count, pa.int64()), "row": pa.array(range(count), pa.int64()),
    })  # fmt: skip
    ids = np.array([int(word) for word in words], np.int32)
    zeros, ones = np.zeros(count, np.int64), np.ones(count, np.int64)
    tokens = Tokens(ids, ones, zeros, ones, np.zeros(count, bool))
    encoder = CountingEncoder()
    rows, rejects = embed_documents(encoder, documents, tokens.to_arrow(), known=known)
    vectors = [vector[0] for vector in rows.column("vector").to_pylist()]
    return dict(zip(rows.column("id").to_pylist(), vectors, strict=True)), rejects, encoder.embedded


def test_equal_texts_are_embedded_once():
    vectors, rejects, embedded = embed(["5", "3", "5", "5", "4", "3"])
    assert vectors == {"d0": 5, "d1": 3, "d2": 5, "d3": 5, "d4": 4, "d5": 3}
    assert (rejects.num_rows, embedded) == (0, [5, 3, 4])


def test_every_copy_of_a_text_that_fails_is_rejected():
    vectors, rejects, _ = embed(["13", "3", "13"])
    assert vectors == {"d1": 3}
    assert rejects.column("id").to_pylist() == ["d0", "d2"]
    assert rejects.column("detail").to_pylist() == ["thirteen"] * 2


@pytest.mark.parametrize("words", [["5", "3", "5", "4"], ["5"], [], ["4", "4"]])
def test_known_vectors_are_taken_over(words):
    vectors, _, embedded = embed(words, Store({"5", "4"}))
    assert list(vectors.values()) == [99 if word in {"5", "4"} else int(word) for word in words]
    assert embedded == [3] * words.count("3")
