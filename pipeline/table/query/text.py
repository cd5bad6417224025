"""From a text to a full-text query: its words, any of which a hit holds.

Lance takes a text between quotation marks for a phrase, which needs an index with positions. Ours keeps none: the words
are searched, and that is said.
"""

from __future__ import annotations

import logging

from lance.query import MatchQuery

__all__ = ["text_query"]

logger = logging.getLogger(__name__)


def text_query(text: str) -> MatchQuery:
    """The query for the words of `text` in the column ``text``; punctuation separates words and says nothing."""
    if any(len(quoted.split()) > 1 for quoted in text.split('"')[1:-1:2]):
        logger.warning("the text index finds words, not phrases: quotation marks in the query are passed over")
    return MatchQuery(text, "text")
