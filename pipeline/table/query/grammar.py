"""Conditions and versions as people type them: ``year>=1990``, ``editor is null``, or JSON. Pure functions.

Blanks around an operator do not count; JSON says what else cannot be said, such as a column with ``=`` in its name.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

from pipeline.errors import UsageError
from pipeline.wording import brief

__all__ = ["parse_conditions", "parse_version"]

_COMPARED: Final = re.compile(r"\s*(?P<field>.*?[^\s!<>=])\s*(?P<sign><=|>=|!=|==?|<|>)\s*(?P<value>.*?)\s*", re.DOTALL)
_MISSING: Final = re.compile(r"\s*(?P<field>.*?\S)\s+is\s+(?P<no>not\s+)?null\s*", re.DOTALL | re.IGNORECASE)
_SIGNS: Final = {"=": "eq", "==": "eq", "!=": "ne", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_SEVERAL: Final = {"eq": "in", "ne": "not_in"}


def parse_conditions(texts: list[str]) -> list[dict[str, Any]]:
    """The condition that all of `texts` hold, for ``where``; several equal ones of a column say: one of these.

    Raises:
        UsageError: one of them is no condition.
    """
    compared: dict[str, dict[str, Any]] = {}
    structured: list[dict[str, Any]] = []
    for text in texts:
        if text.lstrip().startswith("{"):
            structured.append(_from_json(text))
            continue
        name, how, value = _parsed(text)
        comparisons = compared.setdefault(name, {})
        if value is None:
            structured.append({name: {how: None}})
        elif how in _SEVERAL:
            comparisons.setdefault(_SEVERAL[how], []).append(value)
        elif how in comparisons:
            raise UsageError(f"--where {brief(text)}: another bound of this kind is {brief(comparisons[how])}")
        else:
            comparisons[how] = value
    return [{name: comparisons} for name, comparisons in compared.items() if comparisons] + structured


def parse_version(text: str | None) -> int | str | None:
    """The number of a version, or the name of a tag, for ``at``; None for none."""
    return int(text) if text is not None and re.fullmatch("[0-9]{1,19}", text) else text


def _parsed(text: str) -> tuple[str, str, str | None]:
    missing = _MISSING.fullmatch(text)
    if missing is not None and not re.search("[<>=]", text):
        return missing["field"], "ne" if missing["no"] else "eq", None
    parts = _COMPARED.fullmatch(text)
    if parts is None:
        raise UsageError(
            f"--where {brief(text)}: write COLUMN=VALUE (or !=, <, <=, >, >=), 'COLUMN is null', "
            "'COLUMN is not null', JSON"
        )
    return parts["field"], _SIGNS[parts["sign"]], parts["value"]


def _from_json(text: str) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(text, object_pairs_hook=_with_each_name_once))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--where {brief(text)}: no JSON: {error}") from error


def _with_each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError('a name is there twice; write {"and": [{…}, {…}]}')
    return entries
