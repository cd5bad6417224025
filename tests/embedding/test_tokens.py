from __future__ import annotations

import time
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.embedding.tokens import Tokenizer, Tokens
from pipeline.errors import ModelError, SpecError
from pipeline.models import locate

MINI = locate("mini").path
ORACLE = Path(__file__).parents[3] / "shared" / "oracle" / "olmoe"
DIRECTORIES = [MINI, ORACLE] if ORACLE.is_dir() else [MINI]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(MINI, "prompteol", 40)


@lru_cache
def made(prompt, limit):
    return Tokenizer(MINI, prompt, limit)


def ids_of(tokens, row):
    return tokens.take(np.array([row])).ids.tolist()


@pytest.mark.parametrize("prompt", ["prompteol", "none", "{text}", "q: {text}"])
@settings(max_examples=40)
@given(texts=st.lists(st.text(max_size=300), max_size=8))
def test_any_text_becomes_tokens_within_the_limit(prompt, texts):
    tokens = made(prompt, 40)(texts)
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


@given(st.text(alphabet="ab .,?!\"'日é", min_size=1, max_size=200), st.sampled_from([20, 21, 33, 60]))
@settings(max_examples=80)
def test_a_cut_leaves_the_prompt_as_it_is(text, limit):
    """Wherever the cut falls and whatever merges with the quotation mark: what stands behind the text stays."""
    tokens = made("prompteol", limit)([text * 10])
    decoded = made("prompteol", limit)._backend.decode(ids_of(tokens, 0))
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


WIDE = st.text(
    alphabet=st.sampled_from("ab .,\n\t 1A日本語é\u0301\u0323😀👍🏽שלוםعربي\u200d\0\ud800"), min_size=1, max_size=60
)


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
@settings(max_examples=25)
@given(unit=WIDE, times=st.integers(1, 200), tail=WIDE)
@example(unit=" ", times=6000, tail="end")
@example(unit="x", times=6000, tail="y")
@example(unit="\u0301", times=3000, tail="a")
@example(unit="interesting ", times=600, tail="")
@example(unit="\n \t", times=3000, tail="end")
def test_cutting_by_characters_changes_no_token(directory, unit, times, tail):
    text = unit * times + tail
    cut = Tokenizer(directory, "prompteol", 48)
    whole = Tokenizer(directory, "prompteol", 48)
    whole._decided = lambda encoding, end: False  # cuts farther and farther off, the last behind the text
    one, other = cut([text]), whole([text])
    assert ids_of(one, 0) == ids_of(other, 0)
    for name in ("starts", "stops", "truncated"):
        assert getattr(one, name)[0] == getattr(other, name)[0]


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        " ",
        "\n",
        "\0",
        "word ",
        "e\u0301\u0323",
        "\u0301",
        "😀",
        "👍🏽\u200d",
        "日本語。",
        "שלום ",
        "\ud800",
        "9",
        "_",
    ],
)
def test_ten_megabytes_on_one_line_cost_little(tokenizer, unit):
    text = "a" + unit * (10_000_000 // len(unit))
    started = time.process_time()
    made = tokenizer([text])
    assert time.process_time() - started < 0.5
    assert made.truncated.all()
    assert made.lengths[0] <= 40


def trained(directory, *, pad=False, ends=False, normalizer=None):
    """A small byte-level tokenizer as a checkpoint would hold it; `ends`: it adds <s> and </s> by itself."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<s>", "</s>"] + ["<pad>"] * pad
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        ["some words and some more words"], trainers.BpeTrainer(special_tokens=special, initial_alphabet=alphabet)
    )
    if ends:
        pairs = [(name, backend.token_to_id(name)) for name in ("<s>", "</s>")]
        backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=pairs)
    names = {"bos_token": "<s>", "eos_token": "</s>"} | ({"pad_token": "<pad>"} if pad else {})
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(directory)
    return backend


@pytest.mark.parametrize("prompt", ["{text}", "prompteol", "q: {text}"])
def test_a_tokenizer_may_add_its_own_ends_and_need_no_padding(tmp_path, prompt):
    backend = trained(tmp_path, ends=True)
    first, last = (backend.token_to_id(name) for name in ("<s>", "</s>"))
    made = Tokenizer(tmp_path, prompt, 60)(["some words", "some more words " * 50, ""])
    for row in range(3):
        ids = ids_of(made, row)
        assert (ids[0], ids[-1]) == (first, last)
        assert ids.count(first) == ids.count(last) == 1
    assert made.lengths[1] == 60
    assert made.truncated.tolist() == [False, True, False]
    own = ids_of(made, 0)[made.starts[0] : made.stops[0]]
    assert backend.decode(own).strip(" .") == "some words"


def test_own_offsets_leave_out_what_the_tokenizer_adds(tmp_path):
    trained(tmp_path, ends=True)
    text = "some \ud800 words 😀"
    offsets = Tokenizer(tmp_path, "none", 60).own_offsets(text)
    assert offsets[0].tolist() == [0, 4]
    assert offsets[-1, 1] == len(text)
    assert Tokenizer(tmp_path, "none", 60).own_offsets("").shape == (0, 2)


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({"config.json": "{}"}, "no tokenizer can be read"),
        ({"config.json": '{"model_type": "olmoe"}', "tokenizer.json": "{"}, "no tokenizer can be read"),
        ({"tokenizer_config.json": '{"tokenizer_class": "ByT5Tokenizer"}'}, "has no fast form"),
        (
            {"tokenizer_config.json": '{"tokenizer_class": "LlamaTokenizer"}', "tokenizer.model": "x"},
            "no tokenizer can be",
        ),
        ({"tokenizer_config.json": '{"tokenizer_class": "NoSuchTokenizer"}'}, "no tokenizer can be read"),
    ],
)
def test_a_tokenizer_that_cannot_serve_is_refused_in_one_line(tmp_path, files, what):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(ModelError, match=what) as caught:
        Tokenizer(tmp_path, "none", 10)
    assert "\n" not in str(caught.value)


def test_a_prompt_without_a_place_for_the_text_is_refused():
    with pytest.raises(SpecError, match=r"exactly once"):
        Tokenizer(MINI, "no place", 10)
