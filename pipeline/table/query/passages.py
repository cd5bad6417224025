"""The place of a text that matched a query in words. Pure functions.

The text index says which rows match, not where. A word of the text counts as one of the query's if both have the same
stem after case and accents are gone, as in the index (English stems, ASCII folding). In scripts without blanks between
words, the query's letters are looked for as they stand, and failing that each two of them in a row.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

import snowballstemmer

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Passage", "Words", "passage", "words_of"]

_WORD: Final = re.compile(r"[^\W_]+")
_NO_BLANKS: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+"
)
"""Thai, Lao, Burmese, Khmer, Kana, Han."""
_LOOKED_AT: Final = 200_000
"""Letters of a text that are looked through."""
_ROOM: Final = 240


@dataclass(frozen=True, slots=True)
class Words:
    """What a query looks for: stems, and runs of letters in scripts without blanks."""

    stems: frozenset[str]
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text on one line, and where in it words of the query are."""

    text: str
    marks: tuple[tuple[int, int], ...]
    """Beginnings and ends."""


def words_of(query: str) -> Words:
    """The words of a query."""
    runs = tuple(dict.fromkeys(_NO_BLANKS.findall(query)))
    rest = _NO_BLANKS.sub(" ", query)
    return Words(frozenset(_stem(word) for word in _WORD.findall(rest)), runs)


def passage(text: str, words: Words, room: int = _ROOM) -> Passage:
    """The part of `text`, at most about `room` letters, with most different words of the query, then most words.

    Without any of them it is the beginning.
    """
    head = text[:_LOOKED_AT]
    found = sorted(_matches(head, words))
    begin, end = _window(head, [(start, stop) for start, stop, _ in found], [key for *_, key in found], room)
    return _on_one_line(text, begin, end, [(start, stop) for start, stop, _ in found])


def _matches(text: str, words: Words) -> Iterator[tuple[int, int, str]]:
    """Beginning, end and word of each match."""
    for match in _WORD.finditer(text):
        stem = _stem(match[0])
        if stem in words.stems:
            yield match.start(), match.end(), stem
    for run in words.runs:
        pieces = [run] if run in text else {run[at : at + 2] for at in range(len(run) - 1)}
        for piece in pieces:
            for match in re.finditer(re.escape(piece), text):
                yield match.start(), match.end(), piece


def _window(text: str, places: list[tuple[int, int]], keys: list[str], room: int) -> tuple[int, int]:
    """Where the passage begins and ends."""
    if len(text) <= room:
        return 0, len(text)
    best, at = (0, 0), 0
    last = 0
    for first, (start, _) in enumerate(places):
        last = max(last, first)
        while last < len(places) and places[last][1] <= start + room:
            last += 1
        worth = (len({*keys[first:last]}), last - first)
        if worth > best:
            best, at = worth, first
    if not places:
        return 0, room
    start = places[at][0]
    stop = max(places[at + max(best[1], 1) - 1][1], start)
    slack = max(room - (stop - start), 0) // 2
    begin = max(0, start - slack)
    end = min(len(text), begin + max(room, stop - begin))
    return _at_blank(text, begin, start, after=True), _at_blank(text, end, stop, after=False)


def _at_blank(text: str, at: int, bound: int, *, after: bool) -> int:
    """`at`, moved to the end of a word towards `bound`, if there is one."""
    if at in {0, len(text)}:
        return at
    if after:
        blank = text.find(" ", at, bound)
        return at if blank < 0 else blank + 1
    blank = text.rfind(" ", bound, at)
    return at if blank < 0 else blank


def _on_one_line(text: str, begin: int, end: int, places: list[tuple[int, int]]) -> Passage:
    parts, marks, length = ["…" if begin else ""], [], 1 if begin else 0
    at = begin
    for start, stop in [(s, e) for s, e in places if begin <= s and e <= end] + [(end, end)]:
        if start < at:  # overlaps the match before
            continue
        between = _blanks_joined(text[at:start])
        parts += [between, text[start:stop]]
        length += len(between)
        if stop > start:
            marks.append((length, length + stop - start))
        length += stop - start
        at = stop
    return Passage("".join([*parts, "…" if end < len(text) else ""]), tuple(marks))


def _blanks_joined(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@cache
def _stemmer() -> Any:
    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.casefold())
    return _stemmer().stemWord("".join(letter for letter in folded if not unicodedata.combining(letter)))
