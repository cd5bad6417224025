"""From a text to a full-text query: its words, any of which a hit holds.

Lance takes a text between quotation marks for a phrase, which needs an index with positions. Ours keeps none: the words
are searched, and that is said.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from lance.query import MatchQuery

__all__ = ["text_query"]

logger = logging.getLogger(__name__)

_PHRASE: Final = re.compile(r'"[^"]*\w\s+\w[^"]*"')


def text_query(text: str) -> MatchQuery:
    """The query for the words of `text` in the column ``text``; punctuation separates words and says nothing."""
    if _PHRASE.search(text):
        logger.warning("the text index finds words, not phrases: quotation marks in the query are passed over")
    return MatchQuery(text, "text")
