"""Chunks: windows over a document's own tokens, whatever the document is made of."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.embedding import chunks
from pipeline.embedding.chunks import Chunking, chunk_documents, split
from pipeline.embedding.table_rows import embed_documents
from pipeline.embedding.tokens import Tokenizer
from pipeline.errors import SpecError, UsageError
from pipeline.models import locate, reference_texts

MINI = locate("mini").path
WORDS = " ".join(reference_texts()[:30])
MIXED = st.text(alphabet=st.sampled_from('ab .,\n\t_"日本語é\u0301😀👍🏽שלום\u200d\0'), max_size=400)


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(MINI, "prompteol", 40)


def table(*texts, **columns):
    names = [f"d{number}" for number in range(len(texts))]
    return pa.table({"id": names, "text": pa.array(texts, pa.large_string()), **columns})


@pytest.mark.parametrize(
    ("written", "window", "overlap"), [("256", 256, 0), ("256:32", 256, 32), (64, 64, 0), ((64, 8), 64, 8)]
)
def test_a_chunking_is_written_in_several_ways(written, window, overlap):
    chunking = Chunking.parse(written)
    assert (chunking.window, chunking.overlap) == (window, overlap)
    assert Chunking.parse(str(chunking)) == Chunking.parse(chunking) == chunking
    assert Chunking.parse(None) is None


@pytest.mark.parametrize("written", ["", "a", "256:", ":3", "7", "64:33", "-1", "64:-1", "1:2:3", "9" * 30, 3.5, "٣٢"])
def test_what_is_no_chunking_is_refused_in_one_line(written):
    with pytest.raises(UsageError, match="chunk=") as caught:
        Chunking.parse(written)
    assert "\n" not in str(caught.value)


@settings(max_examples=80)
@given(text=MIXED, times=st.integers(1, 6), window=st.integers(8, 20), overlap=st.integers(0, 4))
@example(text=" " * 300 + "a", times=1, window=8, overlap=4)
@example(text="x" * 400, times=3, window=8, overlap=4)
@example(text="ﷺ" * 50, times=1, window=8, overlap=4)
def test_chunks_are_ordered_trimmed_and_leave_out_white_space_only(tokenizer, text, times, window, overlap):
    text *= times
    spans = split(text, Chunking(window, overlap), tokenizer)
    assert all(start < stop for start, stop in spans)
    covered = np.zeros(len(text), bool)
    for start, stop in spans:
        covered[start:stop] = True
        assert not text[start].isspace() or start == 0
        assert not text[stop - 1].isspace() or stop == len(text)
    assert all(character.isspace() for character, inside in zip(text, covered, strict=True) if not inside)
    for (first, end), (second, last) in itertools.pairwise(spans):
        assert first < second
        assert end < last or end <= second
    assert all(end <= second for (_, end), (second, _) in itertools.pairwise(spans)) or overlap


@settings(max_examples=60)
@given(texts=st.lists(MIXED.map(lambda text: text * 5).filter(str.strip), min_size=1, max_size=4))
def test_no_chunk_is_cut_by_its_prompt(tokenizer, texts):
    rows, tokens = chunk_documents(table(*texts), Chunking(tokenizer.room - chunks.SEAM_TOKENS), tokenizer)
    assert rows.num_rows == len(tokens)
    assert not tokens.truncated.any()
    by_document = dict.fromkeys(rows["doc_id"].to_pylist(), 0)
    for row in rows.to_pylist():
        assert row["id"] == f"{row['doc_id']}#{row['chunk']}"
        assert row["chunk"] == by_document[row["doc_id"]]
        assert row["text"] == texts[int(row["doc_id"][1:])][row["chunk_start"] : row["chunk_end"]]
        by_document[row["doc_id"]] += 1
    assert len(by_document) == len(texts)


def test_windows_hold_what_they_should_and_no_word_is_cut(tokenizer):
    spans = split(WORDS, Chunking(16, 4), tokenizer)
    pieces = [WORDS[start:stop] for start, stop in spans]
    assert set(" ".join(pieces).split()) == set(WORDS.split())
    assert " ".join(WORDS[start:stop] for start, stop in split(WORDS, Chunking(16), tokenizer)).split() == WORDS.split()
    counts = np.array([len(tokenizer.own_offsets(piece)) for piece in pieces])
    assert counts.max() <= 16 + chunks.SEAM_TOKENS
    assert np.median(counts) >= 14
    shared = [end - second for (_, end), (second, _) in itertools.pairwise(spans)]
    assert np.median(shared) > 5


def test_a_document_of_one_window_is_one_chunk_as_it_stands(tokenizer):
    rows, _ = chunk_documents(table(" short\n", "x", theme=["a", "b"]), Chunking(20), tokenizer)
    assert rows.select(["id", "doc_id", "text", "theme", "chunk", "chunk_start", "chunk_end"]).to_pylist() == [
        {"id": "d0#0", "doc_id": "d0", "text": " short\n", "theme": "a", "chunk": 0, "chunk_start": 0, "chunk_end": 7},
        {"id": "d1#0", "doc_id": "d1", "text": "x", "theme": "b", "chunk": 0, "chunk_start": 0, "chunk_end": 1},
    ]


def test_no_documents_are_no_chunks_of_the_same_columns(tokenizer):
    rows, tokens = chunk_documents(table("a"), Chunking(20), tokenizer)
    none, no_tokens = chunk_documents(table("a").slice(0, 0), Chunking(20), tokenizer)
    assert none.schema == rows.schema
    assert none.num_rows == len(no_tokens) == 0
    assert no_tokens.to_arrow().schema == tokens.to_arrow().schema


def test_seams_of_segments_cut_no_word_and_lose_none(tokenizer, monkeypatch):
    monkeypatch.setattr(chunks, "SEGMENT_CHARACTERS", 700)
    spans = split(WORDS, Chunking(16), tokenizer)
    assert " ".join(WORDS[start:stop] for start, stop in spans).split() == WORDS.split()


def test_a_chunk_that_its_prompt_makes_too_long_is_halved(tokenizer, monkeypatch):
    monkeypatch.setattr(chunks, "SEAM_TOKENS", -20)
    rows, tokens = chunk_documents(table(WORDS), Chunking(tokenizer.room + 15, 8), tokenizer)
    assert not tokens.truncated.any()
    assert rows["chunk"].to_pylist() == list(range(rows.num_rows))
    assert set(" ".join(rows["text"].to_pylist()).split()) == set(WORDS.split())


@pytest.mark.parametrize(
    "unit", ["interesting words, ", "x", " ", "日本語の文章。", "😀👍🏽", "e\u0301", "lorem,ipsum;", "שלום "]
)
def test_time_grows_with_the_document_and_no_faster(tokenizer, unit):
    seconds = []
    for size in (20_000, 200_000):
        text = "a" + unit * (size // len(unit)) + "z"
        started = time.process_time()
        split(text, Chunking(64, 8), tokenizer)
        seconds.append(time.process_time() - started)
    assert seconds[1] < 30 * seconds[0] + 0.5


def test_a_window_must_fit_beside_the_prompt(tokenizer):
    most = tokenizer.room - chunks.SEAM_TOKENS
    assert chunk_documents(table("a"), Chunking(most), tokenizer)[0].num_rows == 1
    with pytest.raises(SpecError, match=f"room for windows of {most} tokens"):
        chunk_documents(table("a"), Chunking(most + 1), tokenizer)


@pytest.fixture(scope="module")
def embedded(encoder):
    places = {"source": ["s"] * 2, "slice": [1, 1], "row": [0, 1]}
    documents, tokens = chunk_documents(table(WORDS[:3000], "short", **places), Chunking(60, 8), encoder._tokenizer)
    return documents, tokens, embed_documents(encoder, documents, tokens.to_arrow())


def test_a_chunks_vector_is_that_of_its_text_alone(encoder, embedded):
    _, _, (rows, rejects) = embedded
    assert rejects.num_rows == 0
    vectors = np.stack(rows["vector"].to_numpy(zero_copy_only=False)).astype(np.float32)
    np.testing.assert_allclose(vectors, encoder.encode(rows["text"].to_pylist()), atol=1e-3)


def test_a_document_with_a_chunk_that_fails_is_rejected_whole(encoder, embedded, monkeypatch):
    documents, tokens, _ = embedded
    assert documents.num_rows > 4
    original = encoder.vectors_of

    def broken(prepared):
        made = original(prepared)
        made.vectors[2] = np.nan
        return made

    monkeypatch.setattr(encoder, "vectors_of", broken)
    rows, rejects = embed_documents(encoder, documents, tokens.to_arrow())
    assert rows["id"].to_pylist() == ["d1#0"]
    assert [(row["id"], row["row"]) for row in rejects.to_pylist()] == [("d0#2", 0)]
