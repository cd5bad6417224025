from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipeline.topics.words import splitting
from pipeline.topics.words.splitting import language_of, split_words, without_punctuation


def test_letters_that_are_not_english_are_kept():
    english, russian = ["It's a naïve test.\n"] * 50, ["Темы — это важно"]
    assert language_of(["plain text"]) == language_of([]) == "english"
    assert language_of(russian) == language_of(english) == "multilingual"
    assert without_punctuation(english[:1], "english") == ["Its a nave test "]
    assert without_punctuation(russian, "multilingual") == russian


@given(st.lists(st.text(st.sampled_from("aB1 é_\n\t.-ß漢İ")), max_size=6), st.sampled_from(["english", "multilingual"]))
def test_words_are_those_of_a_count_vectorizer(texts, language):
    from sklearn.feature_extraction.text import CountVectorizer

    analyzer = CountVectorizer().build_analyzer()
    expected = [(word, row) for row, text in enumerate(without_punctuation(texts, language)) for word in analyzer(text)]
    parts = list(split_words(pa.array([*texts, None], pa.string()), language))
    found = [pair for part in parts for pair in zip(part.words.to_pylist(), part.texts.tolist(), strict=True)]
    assert found == expected


def test_texts_are_split_a_part_at_a_time(monkeypatch):
    monkeypatch.setattr(splitting, "PART_BYTES", 10)
    parts = list(split_words(["one two", "ten", "three four five six", "", "at"], "english"))
    assert [part.words.to_pylist() for part in parts] == [
        ["one", "two", "ten"],
        ["three", "four", "five", "six"],
        ["at"],
    ]
    assert [part.texts.tolist() for part in parts] == [[0, 0, 1], [2, 2, 2, 2], [4]]
