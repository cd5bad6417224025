"""From a text to a full-text query: its words, any of which a hit holds, and its phrases, all of which a hit holds."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Final

from lance.query import BooleanQuery, MatchQuery, Occur, PhraseQuery

if TYPE_CHECKING:
    from lance.query import FullTextQuery

__all__ = ["text_query"]

logger = logging.getLogger(__name__)

_QUOTED: Final = re.compile(r'"([^"]*)"')


def text_query(text: str, *, has_positions: bool) -> FullTextQuery:
    """The query for `text` in the column ``text``; punctuation separates words and says nothing.

    Several words between quotation marks are a phrase, for which the index must have positions: in one without, they
    are single words, and that is said.
    """
    phrases = [quoted for quoted in _QUOTED.findall(text) if len(re.findall(r"\w+", quoted)) > 1]
    if not phrases or not has_positions:
        if phrases:
            logger.warning(
                "this text index finds words, not phrases: quotation marks in the query are passed over "
                "(moee index builds one that does)"
            )
        return MatchQuery(text, "text")
    rest = _QUOTED.sub(lambda quoted: " " if quoted[1] in phrases else quoted[0], text)
    parts: list[tuple[Occur, FullTextQuery]] = [(Occur.MUST, PhraseQuery(phrase, "text")) for phrase in phrases]
    if re.search(r"\w", rest):
        parts.append((Occur.SHOULD, MatchQuery(rest, "text")))
    return BooleanQuery(parts)
