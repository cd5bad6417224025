"""The queries of a call of ``moee search``: one in words, or many from a file."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pipeline.errors import UsageError

__all__ = ["Queries", "read_queries"]


@dataclass(frozen=True, slots=True)
class Queries:
    """Texts, and for each the weight of the routing half, None for the table's own."""

    texts: list[str]
    alphas: list[float | None]


def read_queries(file: str, alpha: float | None) -> Queries:
    """The queries in `file`, ``-`` being stdin: JSON lines where the first one begins with a brace, else a text a line.

    Args:
        file: UTF-8; empty lines are passed over.
        alpha: of queries that say none.

    Raises:
        UsageError: it cannot be read, or a line is no query; the message names the line.
    """
    from pipeline.table.query.question import Question

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--queries {file!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--queries {file!r} is not UTF-8") from error
    # Not by `splitlines`: JSON may hold what Unicode calls the end of a line.
    numbered = enumerate(text.removeprefix("\ufeff").split("\n"), 1)
    lines = [(number, line.strip()) for number, line in numbered if line.strip()]
    if not lines:
        raise UsageError(f"--queries {file!r} holds no query")
    is_json = lines[0][1].startswith("{")
    queries = Queries([], [])
    for number, line in lines:
        place = f"--queries {file!r}, line {number}"
        query, own = _parsed(line, place) if is_json else (line, None)
        try:
            question = Question.of(query=query, alpha=alpha if own is None else own)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from error
        queries.texts.append(query)
        queries.alphas.append(question.alpha)
    return queries


def _parsed(line: str, place: str) -> tuple[str, float | None]:
    try:
        given: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place}: no JSON: {error}") from error
    if not isinstance(given, dict) or not isinstance(cast("dict[str, Any]", given).get("query"), str):
        raise UsageError(f'{place}: write {{"query": "…"}}, and "alpha" if you like')
    fields = cast("dict[str, Any]", given)
    others = sorted(fields.keys() - {"query", "alpha"})
    if others:
        raise UsageError(f"{place}: there is no field {others[0]!r}, only query and alpha")
    return fields["query"], fields.get("alpha")
