"""Columns made to fit: whatever a file holds becomes the type that the table has, value by value where it must.

A whole column is cast at once. Only where that fails is it halved, and the half again, until the values that do not
fit stand alone: one bad value in a million costs twenty casts more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fit", "fit_python", "infer_python", "is_name", "plain_type"]

Misfits = list[tuple[int, str]]
"""Positions of values that do not fit, in order, each with the reason."""


def fit(column: pa.Array | pa.ChunkedArray, to: pa.DataType) -> tuple[pa.Array, Misfits]:
    """The column as `to`, null where a value does not fit; strings that are not UTF-8 do not fit."""
    if not isinstance(column, pa.ChunkedArray):
        return _fit(_storage(column), to, 0)
    fitted: list[pa.Array] = []
    misfits: Misfits = []
    offset = 0
    for chunk in column.chunks:  # joined only as what they become: together they may be too long for a string array
        array, wrong = _fit(_storage(chunk), to, offset)
        fitted.append(array)
        misfits += wrong
        offset += len(chunk)
    return (pa.concat_arrays(fitted) if fitted else pa.nulls(0, to)), misfits


def _storage(array: pa.Array) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return cast("pa.Array", array.dictionary_decode()) if isinstance(array, pa.DictionaryArray) else array


def _fit(array: pa.Array, to: pa.DataType, offset: int) -> tuple[pa.Array, Misfits]:
    try:
        fitted = array if array.type == to else array.cast(to)
        fitted.validate(full=True)
    except (pa.ArrowException, NotImplementedError) as error:
        if len(array) == array.null_count:
            return pa.nulls(len(array), to), []
        if len(array) == 1 or isinstance(error, NotImplementedError):
            valid = cast("list[int]", array.is_valid().to_numpy(zero_copy_only=False).nonzero()[0].tolist())
            return pa.nulls(len(array), to), [(offset + index, str(error)) for index in valid]
    else:
        return fitted, []
    half = len(array) // 2
    left, left_misfits = _fit(array.slice(0, half), to, offset)
    right, right_misfits = _fit(array.slice(half), to, offset + half)
    return pa.concat_arrays([left, right]), left_misfits + right_misfits


def fit_python(values: Sequence[Any], to: pa.DataType) -> tuple[pa.Array, Misfits]:
    """As `fit`, for values as `json` gives them.

    They get a type of their own first: Arrow would cut 1.5 down to 1 on the way into an integer column. Among metadata
    that have no type in common, objects and lists become JSON; a document's id and text, large strings, are none.
    """
    if to == pa.string():
        values = [json.dumps(each, ensure_ascii=False) if isinstance(each, dict | list) else each for each in values]
    try:
        return fit(pa.array(values), to)
    except _NOT_ONE_TYPE:
        if len(values) == 1:
            return pa.nulls(1, to), [(0, f"{type(values[0]).__name__} does not fit {to}")]
    half = len(values) // 2
    left, left_misfits = fit_python(values[:half], to)
    right, right_misfits = fit_python(values[half:], to)
    return pa.concat_arrays([left, right]), left_misfits + [(half + index, why) for index, why in right_misfits]


_NOT_ONE_TYPE = (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError)


def infer_python(values: Sequence[Any]) -> pa.DataType:
    """The type that holds all `values`; string where there is none."""
    try:
        return plain_type(pa.array(values).type)
    except _NOT_ONE_TYPE:
        return pa.string()


def is_name(name: str) -> bool:
    """Whether a column can be called so: a name that was not UTF-8 in its file cannot be written down."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def plain_type(given: pa.DataType) -> pa.DataType:
    """The type as a table can hold it: no dictionaries, extensions or views; what was only ever null is a string."""
    if isinstance(given, pa.BaseExtensionType):
        return plain_type(given.storage_type)
    if isinstance(given, pa.DictionaryType):
        return plain_type(given.value_type)
    if pa.types.is_null(given) or pa.types.is_string_view(given):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(given) else _plain_nested(given)


def _plain_nested(given: pa.DataType) -> pa.DataType:
    if isinstance(given, pa.StructType):
        return pa.struct([field.with_type(plain_type(field.type)).with_nullable(True) for field in given.fields])
    if isinstance(given, pa.ListType):
        return pa.list_(plain_type(given.value_type))
    return pa.large_list(plain_type(given.value_type)) if isinstance(given, pa.LargeListType) else given
