"""``moee topics``: fit topics on a table's vectors, and show them. One module an action."""

from __future__ import annotations

from typing import Final

from jobs.command import command_group
from jobs.topics import edit, fit, refresh, show
from jobs.topics import map as topic_map
from jobs.topics.fit import fit_and_show

__all__ = ["COMMAND", "fit_and_show"]

ACTIONS: Final = (
    fit.COMMAND,
    refresh.COMMAND,
    show.COMMAND,
    topic_map.COMMAND,
    edit.LABEL,
    edit.MERGE,
    edit.REDUCE,
)

COMMAND: Final = command_group(
    "topics",
    "Fit topics on a table's vectors (BERTopic), show their size, words and example documents, and draw them as a map.",
    ACTIONS,
    examples=("moee topics fit lake/docs", "moee topics show lake/docs", "moee topics show lake/docs 3"),
)
