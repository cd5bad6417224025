"""Words of texts: what stands between boundaries, by one rule for every language, on Arrow columns.

    left out       web and e-mail addresses; possessives and ends of contractions (dog's, we'll); don't as a whole
    boundaries     all that is no letter, mark or digit; and those of ICU in scripts without blanks
    a word         2 to 64 characters in lower case, and none of scikit-learn's English stop words

Of a text that holds no such word ("A 7 🙂"), what stands between its blanks are the words. So every text has some, and
they depend on no other text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.topics.words.segmentation import with_blanks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["SPLITTING", "Words", "split_words", "words_of"]

SPLITTING: Final = 2
"""Version of the rule: counts under different rules cannot be added. 1 glued the parts of a word (``eventbased``)."""

PART_BYTES: Final = 1 << 25
"""Bytes of text that are split at a time; their words take ten times as much memory."""

MAX_WORD_CHARACTERS: Final = 64
"""Longer runs of letters and digits are data, not words."""

LEFT_OUT: Final = (
    r"(?:https?://|ftp://|www\.)[!-~]+"
    r"|[a-z0-9._%+-]+@[a-z0-9.-]+\.[a-z0-9]+"
    r"|[a-z]+n't\b"
    r"|'(?:s|d|m|ll|re|ve)\b"
)
FOREIGN_BOUNDARIES: Final = r"[^\x00-\x7f\p{L}\p{M}\p{N}\x{200c}\x{200d}]+"
"""Outside ASCII. Joiners stand within words of Persian and of Indian languages."""

JOINERS: Final = "\u200c\u200d"
"""At the edge of a word they are none of it."""

VISIBLE: Final = r"[^\p{Z}\p{Cc}\p{Cf}]"

_CODES: Final = np.arange(256, dtype=np.uint8)
_IN_WORDS: Final = np.isin(_CODES, np.frombuffer(b"abcdefghijklmnopqrstuvwxyz0123456789", np.uint8)) | (_CODES > 127)
_BLANKED: Final = np.where(_IN_WORDS, _CODES, np.uint8(ord(" ")))
"""Byte → byte: ASCII characters that stand in no word become blanks. Ten times as fast as a regular expression."""


@dataclass(frozen=True, slots=True)
class Words:
    """The n words of some texts."""

    words: pa.Array
    """large_string [n], lower case."""
    texts: NDArray[np.int64]
    """int64 [n]: position of the text that the word stands in."""


def split_words(texts: Sequence[str] | pa.Array) -> Iterator[Words]:
    """The words of `texts`, about `PART_BYTES` at a time; null counts as empty."""
    column: Any = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    column = column.cast(pa.large_string()).fill_null("")
    ends = np.cumsum(pc.binary_length(column).to_numpy())
    start = 0
    while start < len(column):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + PART_BYTES, side="right")), start + 1)
        found = _split(column[start:stop])
        yield Words(found.words, found.texts + start)
        start = stop


def words_of(text: str) -> list[str]:
    """The words of one text; as a vectorizer's `analyzer`, scikit-learn and BERTopic count the same words."""
    return [word for found in split_words([text]) for word in found.words.to_pylist()]


def _split(texts: pa.Array) -> Words:
    foreign = pc.invert(pc.string_is_ascii(texts))
    lower = pc.utf8_lower(_changed(texts, foreign, _composed))
    bare = pc.replace_substring_regex(lower, LEFT_OUT, " ")
    words, rows = _pieces(_blanked(_changed(bare, foreign, _bounded)))
    if pc.any(foreign).as_py():
        words = pc.utf8_trim(words, JOINERS)
    length = pc.utf8_length(words)
    fits = pc.and_(pc.greater(length, 1), pc.less_equal(length, MAX_WORD_CHARACTERS))
    kept = pc.and_(fits, pc.invert(pc.is_in(words, value_set=_stop_words())))
    words, rows = words.filter(kept), rows[kept.to_numpy(zero_copy_only=False)]
    empty = np.flatnonzero(np.bincount(rows, minlength=len(texts)) == 0)
    if not len(empty):
        return Words(words, rows)
    others, of = _pieces(lower.take(pa.array(empty)))
    written = pc.match_substring_regex(others, VISIBLE)
    others = pc.utf8_slice_codeunits(others.filter(written), 0, MAX_WORD_CHARACTERS)
    of = empty[of[written.to_numpy(zero_copy_only=False)]]
    return Words(pa.concat_arrays([words, others]), np.concatenate([rows, of]))


def _changed(texts: pa.Array, which: pa.Array, change: Any) -> pa.Array:
    """`texts` [n], `change` applied to those of `which` bool [n]."""
    return pc.replace_with_mask(texts, which, change(texts.filter(which))) if pc.any(which).as_py() else texts


def _composed(texts: pa.Array) -> pa.Array:
    """Texts in which equal letters are equal characters; apostrophes are ASCII's, soft hyphens are gone.

    Not NFKC: it takes vowels of Thai and Lao apart, and ICU's dictionaries have them whole.
    """
    plain = pc.replace_substring_regex(pc.replace_substring(texts, "\u00ad", ""), "[\u2019\u00b4]", "'")
    return pc.utf8_normalize(plain, "NFC")


def _bounded(texts: pa.Array) -> pa.Array:
    """Texts with blanks for all but letters, marks, digits and ASCII, and between words that have none."""
    return pc.replace_substring_regex(with_blanks(texts), FOREIGN_BOUNDARIES, " ")


def _blanked(texts: pa.Array) -> pa.Array:
    """Texts with blanks for the ASCII characters that stand in no word."""
    _, ends, data = texts.buffers()
    plain = pa.py_buffer(_BLANKED[np.frombuffer(data or b"", np.uint8)])
    return pa.Array.from_buffers(texts.type, len(texts), [None, ends, plain], offset=texts.offset)


def _pieces(texts: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """What stands between blanks, large_string [n], some of it empty, and the positions of its texts int64 [n]."""
    lists = pc.ascii_split_whitespace(texts)
    return lists.flatten(), pc.list_parent_indices(lists).to_numpy().astype(np.int64)


@cache
def _stop_words() -> pa.Array:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return pa.array(sorted(ENGLISH_STOP_WORDS), pa.large_string())
