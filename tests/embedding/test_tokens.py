from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.embedding.tokens import Tokenizer, Tokens
from pipeline.errors import ModelError, SpecError
from pipeline.models import locate

MINI = locate("mini").path


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(MINI, "prompteol", 40)


def ids_of(tokens, row):
    return tokens.take(np.array([row])).ids.tolist()


@pytest.mark.parametrize("prompt", ["prompteol", "none", "{text}", "q: {text}"])
@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(max_size=300), max_size=8))
def test_any_text_becomes_tokens_within_the_limit(prompt, texts):
    tokens = Tokenizer(MINI, prompt, 40)(texts)
    assert len(tokens) == len(texts)
    assert ((tokens.lengths >= 1) & (tokens.lengths <= 40)).all()
    assert ((tokens.starts >= 0) & (tokens.starts < tokens.stops) & (tokens.stops <= tokens.lengths)).all()
    assert tokens.ids.sum() >= 0
    assert len(tokens.ids) == tokens.lengths.sum()


def test_the_cut_takes_the_texts_end_and_leaves_the_prompt(tokenizer):
    wide = Tokenizer(MINI, "prompteol", 2000)
    text = "one two three four five six seven eight nine ten " * 20
    cut, whole = tokenizer([text]), wide([text])
    assert cut.truncated.all()
    assert not whole.truncated.any()
    assert cut.lengths[0] == 40
    kept = cut.stops[0]
    assert ids_of(cut, 0)[:kept] == ids_of(whole, 0)[:kept]
    assert ids_of(cut, 0)[kept:] == ids_of(whole, 0)[kept - 40 :]


@pytest.mark.parametrize("text", ["日本", "😀", "a b", "naïve café", "שלום", "x"])
def test_all_tokens_of_a_bare_text_are_its_own(text):
    tokens = Tokenizer(MINI, "{text}", 40)([text])
    assert (tokens.starts[0], tokens.stops[0]) == (0, tokens.lengths[0])


@given(st.text(alphabet="ab .,?!\"'日é", min_size=1, max_size=200), st.integers(20, 60))
@settings(max_examples=80, deadline=None)
def test_a_cut_leaves_the_prompt_as_it_is(text, limit):
    """Wherever the cut falls and whatever merges with the quotation mark: what stands behind the text stays."""
    from transformers import AutoTokenizer

    tokens = Tokenizer(MINI, "prompteol", limit)([text * 10])
    decoded = AutoTokenizer.from_pretrained(MINI).decode(ids_of(tokens, 0))
    assert decoded.startswith('this sentence : "')
    assert decoded.endswith('" means in one word:"')


def test_no_text_and_no_prompt_is_still_a_token():
    tokens = Tokenizer(MINI, "{text}", 40)(["", "word"])
    assert tokens.lengths[0] == 1
    assert (tokens.starts[0], tokens.stops[0]) == (0, 1)


def test_a_text_that_fits_is_tokenized_as_it_stands(tokenizer):
    from transformers import AutoTokenizer

    reference = AutoTokenizer.from_pretrained(MINI)
    tokens = tokenizer(["A cat.", 'She said "so"'])
    assert ids_of(tokens, 0) == reference('This sentence : "A cat." means in one word:"').input_ids
    assert ids_of(tokens, 1) == reference('This sentence : "She said \'so\'" means in one word:"').input_ids
    assert not tokens.truncated.any()


def test_a_megabyte_is_cut_before_it_is_tokenized_and_comes_out_the_same(tokenizer):
    text = "interesting words of some length, " * 30_000
    assert ids_of(tokenizer([text]), 0) == ids_of(tokenizer([text[:3000]]), 0)


def test_long_white_space_does_not_hide_the_text_behind_it():
    tokens = Tokenizer(MINI, "{text}", 400)(["a" * 10 + " " * 100_000 + "the end"])
    assert tokens.lengths[0] == 400 or tokens.truncated[0] is np.False_


def test_tokens_survive_arrow(tokenizer):
    tokens = tokenizer(["a", "b c d", ""])
    again = Tokens.from_arrow(tokens.to_arrow())
    for name in ("ids", "lengths", "starts", "stops", "truncated"):
        np.testing.assert_array_equal(getattr(again, name), getattr(tokens, name))


def test_a_slice_of_an_arrow_table_gives_its_own_tokens(tokenizer):
    tokens = tokenizer(["a", "b c d", "e f"])
    part = Tokens.from_arrow(tokens.to_arrow().slice(1, 2))
    assert ids_of(part, 0) == ids_of(tokens, 1)
    assert len(part.ids) == part.lengths.sum()


def test_a_prompt_that_leaves_no_room_is_refused_with_the_number_needed():
    with pytest.raises(SpecError, match=r"alone takes (\d+) tokens") as caught:
        Tokenizer(MINI, "prompteol", 5)
    needed = int(str(caught.value).rsplit(" ", 1)[1])
    assert Tokenizer(MINI, "prompteol", needed)(["word"]).lengths[0] <= needed


def test_a_directory_without_a_tokenizer_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match="no tokenizer"):
        Tokenizer(tmp_path, "none", 10)
