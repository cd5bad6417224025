"""The place of a text that matched: always a part of it, with the query's words marked."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.table.query.passages import passage, words_of

LONG = "Once upon a time there was nothing. " * 50


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        (f"{LONG}A rocket's orbits decay. {LONG}", "orbit", ["orbits"]),
        (f"{LONG}Über Straßen und Café {LONG}", "cafe strassen", ["Straßen", "Café"]),
        (f"{LONG}今天台风登陆天气很坏{LONG}", "天气", ["天气"]),
        (f"{LONG}これは全文を検索する{LONG}", "全文検索", ["全文", "検索"]),
        (f"{LONG}uses node.js here{LONG}", "node.js", ["node", "js"]),
        ("nothing of it", "orbit", []),
        ("", "orbit", []),
    ],
)
def test_words_are_marked_where_they_are(text, query, marked):
    found = passage(text, words_of(query))
    assert [found.text[begin:end] for begin, end in found.marks] == marked
    assert len(found.text) <= 300


def test_the_place_with_most_different_words_wins():
    text = f"orbit orbit orbit {LONG} rocket and moon in orbit {LONG} moon moon"
    found = passage(text, words_of("moon rocket orbit"))
    assert "rocket and moon in orbit" in found.text
    assert found.text.startswith("…")
    assert found.text.endswith("…")


def test_a_text_that_has_room_is_there_whole_with_its_marks_in_place():
    text = "Return the number of the line that was read."
    found = passage(text, words_of("read a line"), room=len(text))
    assert found.text == text
    assert [text[begin:end] for begin, end in found.marks] == ["line", "read"]


def test_a_word_that_is_longer_than_the_room_is_there_whole():
    word = "a" * 400
    found = passage(f"{LONG}{word} {LONG}", words_of(word), room=100)
    assert [found.text[begin:end] for begin, end in found.marks] == [word]


@given(st.text(st.sampled_from("ab c\n\t日本é"), max_size=400), st.text(st.sampled_from("ab 日本é"), max_size=8))
def test_a_passage_is_a_part_of_the_text_on_one_line(text, query):
    found = passage(text, words_of(query), room=40)
    plain = re.sub(r"\s+", " ", text)
    assert found.text.removeprefix("…").removesuffix("…") in plain
    assert "\n" not in found.text
    ends = [0, *(end for _, end in found.marks)]
    assert all(end <= begin < stop for end, (begin, stop) in zip(ends, found.marks, strict=False))
