"""Words of scripts that are written without blanks: Han, Kana, Thai, Lao, Khmer, Myanmar.

ICU divides them by its dictionaries (`docs/decisions/0017-words-by-icu.md`). Chinese words that are in no dictionary
come out of it as single characters. Neighbouring ones are joined in pairs, as search engines do: of 翻 炒 becomes 翻炒.
"""

from __future__ import annotations

import re
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["with_blanks"]

UNSPACED: Final = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"

_HAN: Final = "[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]"
_LONE_CHARACTERS: Final = re.compile(rf"(?<!\S){_HAN}(?: {_HAN})+(?!\S)")


def with_blanks(texts: pa.Array) -> pa.Array:
    """The `texts` large_string [n]; those that hold a script without blanks have blanks between their words."""
    unspaced = pc.match_substring_regex(texts, UNSPACED)
    if not pc.any(unspaced).as_py():
        return texts
    from icu4py.breakers import WordBreaker

    # "root" is the locale of no language: the same boundaries on every machine.
    divided = [" ".join(WordBreaker(text, "root")) for text in texts.filter(unspaced).to_pylist()]
    paired = [_LONE_CHARACTERS.sub(_pairs, text) for text in divided]
    return pc.replace_with_mask(texts, unspaced, pa.array(paired, pa.large_string()))


def _pairs(found: re.Match[str]) -> str:
    characters = found.group().replace(" ", "")
    return " ".join(characters[at : at + 2] for at in range(len(characters) - 1))
