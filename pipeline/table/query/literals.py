"""Values that a condition compares a column with: from a text or a Python value to Arrow, from Arrow to SQL.

A value becomes one of the column's own type or is refused; nothing is rounded on the way into whole numbers, decimals
or units of time. SQL holds it as text with a cast to exactly that type, which Lance folds into a constant, so that
indexes are used. No value passes through a Python type that could not hold it.
"""

from __future__ import annotations

from collections.abc import Callable  # noqa: TC003  the tables below are annotated with it
from typing import Any, Final

import pyarrow as pa
from pyarrow import types

from pipeline.table.query.times import count_of

__all__ = ["Unfit", "in_words", "is_comparable", "name_sql", "typed", "value_sql"]


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def _zoned(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.TimestampType) and kind.tz is not None


_KINDS: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (types.is_boolean, "true or false"),
    (types.is_integer, "whole numbers"),
    (types.is_floating, "numbers"),
    (types.is_decimal, "decimal numbers"),
    (types.is_date, "dates"),
    (_zoned, "instants"),
    (types.is_timestamp, "times without a zone"),
    (types.is_time, "times of day"),
    (types.is_duration, "durations"),
    (_is_text, "texts"),
)
"""What can be compared, in words."""

_NO_KINDS: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (lambda kind: types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind), "bytes"),
    (types.is_struct, "records"),
    (types.is_map, "maps"),
    (types.is_nested, "lists"),
    (types.is_null, "nothing but missing values"),
)

_FORMS: Final[tuple[tuple[Callable[[pa.DataType], bool], str], ...]] = (
    (types.is_date, "2020-09-13"),
    (_zoned, "2020-09-13T12:26:40Z or 2020-09-13T08:26:40-04:00"),
    (types.is_timestamp, "2020-09-13T12:26:40, without a zone"),
    (types.is_time, "12:26:40"),
    (types.is_duration, "90s, 1.5h or 250ms"),
)
"""How values are written where it is not plain."""

_RUST_UNITS: Final = {"s": "Second", "ms": "Millisecond", "us": "Microsecond", "ns": "Nanosecond"}


class Unfit(Exception):  # noqa: N818  no error: the second half of a UsageError's message
    """Why a value cannot be compared with a column."""


def in_words(kind: pa.DataType) -> str:
    """A column's type: Arrow's name for it, and what that is."""
    plain = _plain(kind)
    words = next((words for belongs, words in (*_KINDS, *_NO_KINDS) if belongs(plain)), None)
    return str(kind) if words is None else f"{kind} ({words})"


def is_comparable(kind: pa.DataType) -> bool:
    """Whether a condition can compare a column of this type with a value."""
    plain = _plain(kind)
    return any(belongs(plain) for belongs, _ in _KINDS) and not (types.is_decimal(plain) and plain.scale < 0)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def typed(value: Any, kind: pa.DataType) -> pa.Scalar:
    """`value`, a text, a Python, numpy or Arrow value, as one of a column of type `kind`, which `is_comparable`.

    Raises:
        Unfit: no value of the column can be equal to it.
    """
    kind = _plain(kind)
    # As text, whole numbers may be of any size.
    given = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    try:
        scalar = given if isinstance(given, pa.Scalar) else pa.scalar(given)
        fitted = _from_text(scalar, kind) if _is_text(scalar.type) else _cast(scalar, kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise Unfit(_how_to_write(kind)) from error
    if types.is_floating(kind) and fitted.as_py() != fitted.as_py():
        raise Unfit("NaN equals nothing")
    return fitted


def _from_text(text: pa.Scalar, kind: pa.DataType) -> pa.Scalar:
    written: str = text.as_py()
    if types.is_temporal(kind):
        count = count_of(written, kind)
        if count is None:
            raise ValueError(written)
        return pa.scalar(count, kind)
    fitted = text.cast(kind)
    if types.is_floating(kind) and abs(fitted.as_py()) == float("inf") and "inf" not in written.lower():
        raise OverflowError(written)
    return fitted


def _cast(scalar: pa.Scalar, kind: pa.DataType) -> pa.Scalar:
    if types.is_temporal(kind) and _zoned(scalar.type) != _zoned(kind):
        raise ValueError(scalar)
    fitted = scalar.cast(kind)
    if types.is_temporal(kind) and not fitted.cast(scalar.type).equals(scalar):  # a day has no time of day
        raise ValueError(scalar)
    return fitted


def _how_to_write(kind: pa.DataType) -> str:
    form = next((form for belongs, form in _FORMS if belongs(kind)), None)
    return "no such value" if form is None else f"write {form}"


def value_sql(value: pa.Scalar) -> str:
    """SQL for a value that `typed` gave."""
    kind: pa.DataType = value.type
    if _is_text(kind):
        return _quoted(value.as_py())
    if types.is_boolean(kind):
        return "true" if value.as_py() else "false"
    if types.is_temporal(kind):
        return _cast_sql(_cast_sql(_quoted(str(value.value)), f"Int{kind.bit_width}"), _rust_name(kind))
    # Lance reads no exponents into decimals of 256 bits.
    text = f"{value.as_py():f}" if types.is_decimal(kind) else value.cast(pa.string()).as_py()
    return _cast_sql(_quoted(text), _rust_name(kind))


def name_sql(name: str) -> str:
    """SQL for a column; no column of a table has a backtick in its name."""
    return f"`{name}`"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _cast_sql(value: str, kind: str) -> str:
    return f"arrow_cast({value}, {_quoted(kind)})"


def _rust_name(kind: pa.DataType) -> str:
    """The name that Lance's side has for a type."""
    if types.is_integer(kind):
        return f"{'UInt' if types.is_unsigned_integer(kind) else 'Int'}{kind.bit_width}"
    if types.is_floating(kind):
        return f"Float{kind.bit_width}"
    if types.is_decimal(kind):
        return f"Decimal{kind.bit_width}({kind.precision}, {kind.scale})"
    if types.is_date(kind):
        return f"Date{kind.bit_width}"
    unit = _RUST_UNITS[kind.unit]
    if types.is_timestamp(kind):
        zone = "None" if kind.tz is None else f'Some("{kind.tz}")'
        return f"Timestamp({unit}, {zone})"
    return f"Duration({unit})" if types.is_duration(kind) else f"Time{kind.bit_width}({unit})"
