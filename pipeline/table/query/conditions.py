"""Conditions on columns: from ``FIELD = VALUE`` to SQL that no name and no value can break out of.

Every comparison is one of a column with typed values (`pipeline.table.query.literals`), and conditions are joined as
whole. SQL of the table's owner (``where_sql``) is the only text that is taken as it is.
"""

from __future__ import annotations

from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import UsageError
from pipeline.table.query.literals import Unfit, in_words, is_comparable, name_sql, typed, value_sql
from pipeline.table.schema import document_column
from pipeline.values import as_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["conjunction", "other_than", "where_equal"]


def where_equal(schema: pa.Schema, where: Mapping[str, Any] | None) -> str | None:
    """SQL for ``FIELD = VALUE`` in every entry (a list: one of its values); None without one.

    Values take the column's type: ``"3"`` finds 3 in an integer column, and an instant is found in every zone and unit.

    Raises:
        UsageError: there is no such column, or it cannot be compared with the value.
    """
    return conjunction(*(_is_one_of(schema, name, value) for name, value in (where or {}).items()))


def other_than(schema: pa.Schema, document: str) -> str:
    """SQL for being neither this document, nor one of its chunks, nor the chunk of this id."""
    value = value_sql(pa.scalar(document, pa.string()))
    return " AND ".join(f"{name_sql(name)} != {value}" for name in sorted({"id", document_column(schema)}))


def conjunction(*conditions: str | None) -> str | None:
    """SQL for all of `conditions`; None where there is none."""
    given = [condition for condition in conditions if condition is not None]
    return given[0] if len(given) == 1 else " AND ".join(f"({one})" for one in given) or None


def _is_one_of(schema: pa.Schema, name: str, value: Any) -> str:
    if name not in schema.names:
        fit = ", ".join(field.name for field in schema if is_comparable(field.type))
        raise UsageError(f"where {name}={_short(value)}: there is no such column; there are {fit}")
    kind = schema.field(name).type
    if not is_comparable(kind):
        raise UsageError(f"where {name}={_short(value)}: the column holds {in_words(kind)}, which cannot be compared")
    values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
    if not values:
        raise UsageError(f"where {name}: no values to choose from")
    literals = [literal for one in values for literal in _equal_to(name, kind, one)]
    column = name_sql(name)
    return f"{column} = {literals[0]}" if len(literals) == 1 else f"{column} IN ({', '.join(literals)})"


def _equal_to(name: str, kind: pa.DataType, value: Any) -> list[str]:
    """SQL for `value`; zero is two values, which Lance tells apart."""
    if value is None or (isinstance(value, pa.Scalar) and not value.is_valid):
        raise UsageError(f"where {name}: a missing value equals nothing; write where_sql='{name} IS NULL'")
    try:
        scalar = typed(value, kind)
    except Unfit as reason:
        message = f"where {name}={_short(value)}: the column holds {in_words(kind)}: {reason}"
        raise UsageError(message) from reason
    if pa.types.is_floating(scalar.type) and scalar.as_py() == 0:
        return [value_sql(pa.scalar(zero, scalar.type)) for zero in (0.0, -0.0)]
    return [value_sql(scalar)]


def _short(value: Any) -> str:
    return short_repr(as_cell(value) if isinstance(value, pa.Scalar) else value)
