"""Conditions on columns: from a structure to SQL that no name and no value can break out of.

    {"year": 1999}                          equal; for a list: it holds the value
    {"lang": ["de", "en"]}                  one of these
    {"year": {"gte": 1990, "lt": 2000}}     eq ne in not_in gt gte lt lte; of texts starts_with contains; of lists has
                                            has_any has_all
    {"editor": None}                        is missing; {"ne": None} is not
    {"and": […]}, {"or": […]}, {"not": {…}}

All entries of a mapping hold, and so do all mappings of a list. A condition holds or it does not: one that compares a
missing value, or NaN, does not, and its negation (``not``, ``ne``, ``not_in``) does. Every comparison is one of a
column with typed values (`pipeline.table.query.literals`). SQL of the table's owner (``where_sql``) is the only text
that is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.table.query.literals import Unfit, in_words, is_comparable, name_sql, typed, value_sql
from pipeline.table.schema import document_column
from pipeline.values import as_cell
from pipeline.wording import brief

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Where", "condition_sql", "conjunction", "named", "whole_sql"]

Where = Mapping[str, Any] | Sequence[Mapping[str, Any]]

_JOINING: Final = ("and", "or", "not")
_MAX_DEPTH: Final = 32
_MAX_VALUES: Final = 10_000
"""Values that one condition compares with; each is a piece of SQL."""


def condition_sql(schema: pa.Schema, where: Where | None) -> str | None:
    """SQL for the condition `where`; None where it says nothing.

    Values take the column's type: ``"3"`` finds 3 in an integer column, and an instant is found in every zone and unit.

    Raises:
        UsageError: it is no condition, there is no such column, or it cannot be compared so.
    """
    if not where:
        return None
    if _values(where, 0) > _MAX_VALUES:
        raise UsageError(f"where: more than {_MAX_VALUES:,} values to compare with")
    return _all_of(schema, where)


def named(schema: pa.Schema, document: str) -> str:
    """SQL for being this document, or one of its chunks, or the chunk of this id."""
    value = value_sql(pa.scalar(document, pa.string()))
    return " OR ".join(f"{name_sql(name)} = {value}" for name in sorted({"id", document_column(schema)}))


def conjunction(*conditions: str | None) -> str | None:
    """SQL for all of `conditions`; None where there is none."""
    given = [condition for condition in conditions if condition is not None]
    return given[0] if len(given) == 1 else _joined("AND", given) or None


def whole_sql(written: str | None) -> str | None:
    """SQL of the table's owner as one expression: Lance reads the first one of a text and passes over the rest."""
    return None if written is None else f"({written}\n)" if "--" in written else f"({written})"


def _joined(word: str, conditions: Sequence[str]) -> str:
    return f" {word} ".join(f"({one})" for one in conditions)


def _negated(condition: str) -> str:
    """Of the two values that a condition has in SQL here, the other: neither false nor unknown is true."""
    return f"({condition}) IS NOT TRUE"


def _values(where: Any, depth: int) -> int:
    """How many values a condition holds."""
    if depth > _MAX_DEPTH:
        raise UsageError(f"where: more than {_MAX_DEPTH} conditions inside each other")
    if _is_mapping(where):
        return sum(_values(part, depth + 1) for part in cast("Mapping[Any, Any]", where).values())
    if _is_several(where):
        return sum(_values(part, depth + 1) for part in cast("Sequence[Any]", where))
    return 1


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and not isinstance(value, pa.Scalar)  # records of Arrow are both


def _is_several(value: object) -> bool:
    return isinstance(value, list | tuple | set | frozenset)


def _all_of(schema: pa.Schema, where: Where) -> str:
    parts = cast("Sequence[Any]", where if _is_several(where) else [where])
    if not parts or not all(isinstance(part, Mapping) and part for part in parts):
        raise UsageError(f"where: {brief(where)} is no condition; write {{COLUMN: VALUE}}")
    return str(conjunction(*(_entry(schema, name, given) for part in parts for name, given in part.items())))


def _entry(schema: pa.Schema, name: Any, given: Any) -> str:
    if name in _JOINING and name not in schema.names:
        return _join(schema, name, given)
    column = _Column.of(schema, name)
    if not _is_mapping(given):
        return column.compared("in" if _is_several(given) else "eq", given)
    comparisons = cast("Mapping[Any, Any]", given)
    if not comparisons:
        raise UsageError(f"where {_said(name)}: no comparison; there are {', '.join(_COMPARISONS)}")
    return str(conjunction(*(column.compared(how, value) for how, value in comparisons.items())))


def _join(schema: pa.Schema, how: str, given: Any) -> str:
    if how == "not":
        return _negated(_all_of(schema, given))
    if not _is_several(given) or not given:
        raise UsageError(f"where {how}: a list of conditions; this is {brief(given)}")
    return _joined(how.upper(), [_all_of(schema, part) for part in given])


@dataclass(frozen=True, slots=True)
class _Column:
    """A column, as conditions compare it."""

    name: str
    kind: pa.DataType
    """Of its values, or of those in its lists."""
    is_list: bool

    @classmethod
    def of(cls, schema: pa.Schema, name: Any) -> _Column:
        if name not in schema.names:
            fit = ", ".join(field.name for field in schema if is_comparable(_value_type(field.type)))
            raise UsageError(f"where {_said(name)}: there is no such column; there are {fit}")
        kind = schema.field(name).type
        return cls(name, _value_type(kind), is_list=_value_type(kind) is not kind)

    def compared(self, how: Any, value: Any) -> str:
        """SQL for one comparison."""
        comparison = _COMPARISONS.get(how)
        if comparison is None:
            raise UsageError(
                f"where {self.name}: there is no comparison {brief(how)}; there are {', '.join(_COMPARISONS)}"
            )
        if how in {"eq", "ne"} and _is_missing(value):
            return f"{name_sql(self.name)} IS {'NOT ' if how == 'ne' else ''}NULL"
        if not is_comparable(self.kind):
            raise self._refused(value, "which cannot be compared")
        if self.is_list and how not in _OF_LISTS:
            raise self._refused(value, f"of which {', '.join(_OF_LISTS)} can be asked")
        if not self.is_list and how in {"has", "has_any", "has_all"}:
            raise self._refused(value, "which are no lists")
        if how in {"starts_with", "contains"} and not _is_text(self.kind):
            raise self._refused(value, f"of which {how} says nothing")
        return comparison(self, value)

    def literals(self, value: Any, *, several: bool = False) -> list[str]:
        """SQL for a value, or for each of several; zero is two values, which Lance tells apart."""
        if _is_several(value) and not several:
            raise UsageError(f"where {self.name}: one value to compare with, not {_short(value)}")
        values = list(value) if _is_several(value) else [value]
        if not values:
            raise UsageError(f"where {self.name}: no values to choose from")
        scalars = [self._typed(one) for one in values]
        zeros = [one.type for one in scalars if pa.types.is_floating(one.type) and one.as_py() == 0]
        return [value_sql(one) for one in (*scalars, *(pa.scalar(-0.0, kind) for kind in zeros[:1]))]

    def bound(self, value: Any, *, below: bool) -> str:
        """SQL for a value that others lie above or below; beside 0 there is -0, which Lance takes for less."""
        if _is_several(value):
            raise UsageError(f"where {self.name}: one value to compare with, not {_short(value)}")
        scalar = self._typed(value)
        if pa.types.is_floating(scalar.type) and scalar.as_py() == 0:
            scalar = pa.scalar(-0.0 if below else 0.0, scalar.type)
        return value_sql(scalar)

    def _typed(self, value: Any) -> pa.Scalar:
        if _is_missing(value):
            raise UsageError(f"where {self.name}: a missing value equals nothing; ask for it alone, as null")
        try:
            return typed(value, self.kind)
        except Unfit as reason:
            raise self._refused(value, f": {reason}") from reason

    def _refused(self, value: Any, why: str) -> UsageError:
        kind = f"lists of {in_words(self.kind)}" if self.is_list else in_words(self.kind)
        between = "" if why.startswith(":") else ", "
        return UsageError(f"where {self.name}={_short(value)}: the column holds {kind}{between}{why}")


def _equal(column: _Column, value: Any, *, several: bool = False) -> str:
    name, literals = name_sql(column.name), column.literals(value, several=several)
    if column.is_list:
        return _joined("OR", [f"array_has({name}, {literal})" for literal in literals])
    return f"{name} = {literals[0]}" if len(literals) == 1 else f"{name} IN ({', '.join(literals)})"


def _one_of(column: _Column, value: Any) -> str:
    return _equal(column, value, several=True)


def _has_all(column: _Column, value: Any) -> str:
    return _joined("AND", [_equal(column, one) for one in (value if _is_several(value) else [value])])


def _ordered(sign: str) -> Callable[[_Column, Any], str]:
    """A comparison by order, which Lance has NaN take part in: above all numbers, or below."""
    above, equal = sign.startswith(">"), sign.endswith("=")

    def compared(column: _Column, value: Any) -> str:
        name = name_sql(column.name)
        condition = f"{name} {sign} {column.bound(value, below=above == equal)}"
        if not pa.types.is_floating(column.kind):
            return condition
        end = value_sql(pa.scalar(float("inf") if above else float("-inf"), column.kind))
        return f"{condition} AND {name} {'<=' if above else '>='} {end}"

    return compared


def _on_text(function: str) -> Callable[[_Column, Any], str]:
    return lambda column, value: f"{function}({name_sql(column.name)}, {column.literals(value)[0]})"


def _not(comparison: Callable[[_Column, Any], str]) -> Callable[[_Column, Any], str]:
    return lambda column, value: _negated(comparison(column, value))


_COMPARISONS: Final[dict[str, Callable[[_Column, Any], str]]] = {
    "eq": _equal,
    "ne": _not(_equal),
    "in": _one_of,
    "not_in": _not(_one_of),
    "gt": _ordered(">"),
    "gte": _ordered(">="),
    "lt": _ordered("<"),
    "lte": _ordered("<="),
    "starts_with": _on_text("starts_with"),
    "contains": _on_text("contains"),
    "has": _equal,
    "has_any": _one_of,
    "has_all": _has_all,
}
_OF_LISTS: Final = ("eq", "ne", "in", "not_in", "has", "has_any", "has_all")


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, pa.Scalar) and not value.is_valid)


def _short(value: Any) -> str:
    return brief(as_cell(value) if isinstance(value, pa.Scalar) else value)


def _said(name: Any) -> str:
    """A name in a message: as it is, where that is a short word."""
    return name if isinstance(name, str) and name.isprintable() and len(name) < 80 else brief(name)
