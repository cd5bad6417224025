"""Splitting texts into words: the same words as BERTopic and its CountVectorizer, but on Arrow columns.

BERTopic reduces English texts to ASCII letters, digits and spaces. Words are then what stands between spaces, and Arrow
splits at 0.2 µs a word without the interpreter's lock. Other languages take scikit-learn's pattern, text by text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["Words", "language_of", "split_words", "without_punctuation", "word_texts"]

FOREIGN_LETTERS: Final = 0.01
"""Share of non-ASCII letters above which a corpus is not English: BERTopic would remove them."""

PART_BYTES: Final = 1 << 25
"""Bytes of text that are split at a time; their words take ten times as much memory."""

_WORD: Final = re.compile(r"(?u)\b\w\w+\b")
"""CountVectorizer's default pattern."""


@dataclass(frozen=True, slots=True)
class Words:
    """The n words of some texts."""

    words: pa.Array
    """string [n], lower case."""
    texts: NDArray[np.int64]
    """int64 [n]: position of the text that the word stands in."""


def split_words(texts: Sequence[str] | pa.Array, language: str) -> Iterator[Words]:
    """The words of `texts`, about `PART_BYTES` at a time; null counts as empty."""
    column = word_texts(texts)
    ends = np.cumsum(pc.binary_length(column).to_numpy())
    start = 0
    while start < len(column):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + PART_BYTES, side="right")), start + 1)
        found = (_english if language == "english" else _any)(column[start:stop])
        yield Words(found.words, found.texts + start)
        start = stop


def word_texts(texts: Sequence[str] | pa.Array) -> pa.Array:
    """`texts` as one large_string column without nulls."""
    column: Any = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    return column.cast(pa.large_string()).fill_null("")


def _english(texts: pa.Array) -> Words:
    bare = pc.replace_substring_regex(pc.replace_substring_regex(texts, r"[\n\t]", " "), r"[^A-Za-z0-9 ]+", "")
    lists = pc.split_pattern(pc.ascii_lower(bare), " ")
    words = lists.flatten()
    long = pc.greater(pc.binary_length(words), 1)
    return Words(words.filter(long), pc.list_parent_indices(lists).filter(long).to_numpy().astype(np.int64))


def _any(texts: pa.Array) -> Words:
    found = [_WORD.findall(text.lower()) for text in texts.to_pylist()]
    counts = np.array([len(words) for words in found], dtype=np.int64)
    words = pa.array(list(chain.from_iterable(found)), pa.large_string())
    return Words(words, np.repeat(np.arange(len(found)), counts))


def language_of(texts: Sequence[str]) -> str:
    """BERTopic's language for `texts`: ``english`` (only ASCII letters and digits count) or ``multilingual``."""
    letters = [character for text in texts[:1000] for character in text[:1000] if character.isalpha()]
    foreign = sum(not character.isascii() for character in letters)
    return "multilingual" if foreign > FOREIGN_LETTERS * len(letters) else "english"


def without_punctuation(texts: Sequence[str], language: str) -> list[str]:
    """Texts as BERTopic gives them to its vectorizer; other figures then count the same words."""
    spaced = [re.sub(r"[\n\t]", " ", text) for text in texts]
    if language == "english":
        return [re.sub(r"[^A-Za-z0-9 ]+", "", text) for text in spaced]
    return spaced
