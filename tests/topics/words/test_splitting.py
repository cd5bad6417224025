# ruff: noqa: RUF001  these texts are in many scripts
from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.words import splitting
from pipeline.topics.words.splitting import split_words, words_of

texts = st.lists(st.text(st.sampled_from("aBx1 é_\n\t.-'’ß漢字天气İงำ@🙂\u200d")), max_size=6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Event-based snake_case, C++ 42.", ["event", "based", "snake", "case", "42"]),
        ("see http://www.haskell.org/x?y=1, www.x.org/a or e-mail a.b+c@foo.co.uk now", ["mail"]),
        ("Python's dog’s life: we'll, they’re; don't, WON’T can´t", ["python", "dog", "life"]),
        ("l'été d’une Grüße", ["été", "une", "grüße"]),
        ("Cafe\u0301 exam\u00adple", ["café", "example"]),
        ("Темы — это важно", ["темы", "это", "важно"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("\u200dship boat\u200c \u200d1", ["ship", "boat"]),
        ("台风天气，冠军球队。", ["台风", "天气", "冠军", "球队"]),
        ("酱油翻炒", ["酱油", "翻炒"]),
        ("Python语言3D打印", ["python", "语言", "3d", "打印"]),
        ("日本語の文章を分割する。", ["日本語", "文章", "分割", "する"]),
        ("ภาษาไทยระหว่างคำ", ["ภาษา", "ไทย", "ระหว่าง", "คำ"]),
        ("ພາສາລາວບໍ່ມີ", ["ພາສາ", "ລາວ", "ບໍ່ມີ"]),
        ("ភាសាខ្មែរមិនមាន", ["ភាសាខ្មែរ", "មិន", "មាន"]),
        ("စကားလုံးများ", ["စကားလုံး", "များ"]),
        ("漢字 word " + "x" * 65, ["漢字", "word"]),
    ],
)
def test_a_word_is_what_stands_between_boundaries(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The and", ["the", "and"]),
        ("7", ["7"]),
        ("🙂 🙂🙂", ["🙂", "🙂🙂"]),
        ("https://x.y", ["https://x.y"]),
        ("x" * 70, ["x" * 64]),
        (" \u200b\n", []),
    ],
)
def test_a_text_without_such_words_is_what_stands_between_its_blanks(text, words):
    assert words_of(text) == words


@given(texts)
def test_words_of_a_text_depend_on_that_text_alone(drawn):
    alone = [(word, row) for row, text in enumerate(drawn) for word in words_of(text)]
    parts = list(split_words(pa.array([*drawn, None], pa.string())))
    found = [pair for part in parts for pair in zip(part.words.to_pylist(), part.texts.tolist(), strict=True)]
    assert sorted(found) == sorted(alone)


@given(texts)
def test_every_text_with_something_to_see_has_words(drawn):
    for text in drawn:
        assert bool(words_of(text)) == bool(re.search(r"[^\s\u200d]", text))


@given(texts)
def test_words_of_joined_texts_are_those_of_each_where_each_has_some(drawn):
    whole = [text for text in drawn if len(words_of(f"{text} ship")) > 1]
    assert sorted(words_of(" ".join(whole))) == sorted(word for text in whole for word in words_of(text))


def test_words_of_a_slice_are_those_of_its_texts():
    column = pa.array(["cat-dog", "the—ship", "boat"], pa.large_string())
    (part,) = split_words(column.slice(1))
    assert (part.words.to_pylist(), part.texts.tolist()) == (["ship", "boat"], [0, 1])


def test_texts_are_split_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(splitting, "PART_BYTES", 10)
    parts = list(split_words(["ones twos", "tens", "threes fours fives sixes", "", "ats"]))
    assert [part.words.to_pylist() for part in parts] == [
        ["ones", "twos"],
        ["tens"],
        ["threes", "fours", "fives", "sixes"],
        ["ats"],
    ]
    assert [part.texts.tolist() for part in parts] == [[0, 0], [1], [2, 2, 2, 2], [4]]
