"""Columns made to fit: whatever a file holds becomes the type that the table has, value by value where it must.

A whole column is cast at once. Only where that fails is it halved, and the half again, until the values that do not
fit stand alone: one bad value in a million costs twenty casts more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.arrow_types import EXACT_INTEGERS, safe_cast
from pipeline.values import as_json

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["fit", "fit_metadata", "fit_python", "infer_python", "infer_text", "is_name"]

Misfits = list[tuple[int, str]]
"""Positions of values that do not fit, in order, each with the reason."""


def fit(column: pa.Array | pa.ChunkedArray, to: pa.DataType) -> tuple[pa.Array, Misfits]:
    """The column as `to`, null where a value does not fit; strings that are not UTF-8 do not fit.

    No value becomes another one, but that floats are rounded to the precision of `to` (integers are not: they do not
    fit), and that timestamps without a zone are taken to be in UTC. A float that is no number is null in a column of
    another kind.
    """
    if not isinstance(column, pa.ChunkedArray):
        return _fit(_storage(column, to), to, 0)
    fitted: list[pa.Array] = []
    misfits: Misfits = []
    offset = 0
    for chunk in column.chunks:  # joined only as what they become: together they may be too long for a string array
        array, wrong = _fit(_storage(chunk, to), to, offset)
        fitted.append(array)
        misfits += wrong
        offset += len(chunk)
    return (pa.concat_arrays(fitted) if fitted else pa.nulls(0, to)), misfits


def _storage(array: pa.Array, to: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        array = cast("pa.Array", array.dictionary_decode())
    if pa.types.is_floating(array.type) and not pa.types.is_floating(to):
        return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    return array


def _fit(array: pa.Array, to: pa.DataType, offset: int) -> tuple[pa.Array, Misfits]:
    try:
        fitted = array if array.type == to else safe_cast(array, to)
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


def fit_metadata(column: pa.ChunkedArray, to: pa.DataType) -> tuple[pa.Array, Misfits]:
    """As `fit`, but that lists and records become JSON in a column of strings, which they share with other values."""
    if pa.types.is_nested(column.type) and pa.types.is_string(to):
        return pa.array([None if each is None else _json(each) for each in as_json(column)], to), []
    return fit(column, to)


def fit_python(values: Sequence[Any], to: pa.DataType) -> tuple[pa.Array, Misfits]:
    """As `fit`, for values as `json` gives them.

    They get a type of their own first: Arrow would cut 1.5 down to 1 on the way into an integer column. What becomes
    metadata of the type string, and is none, becomes JSON; a document's id and text, large strings, do not.
    """
    values = [None if each != each else each for each in values]  # noqa: PLR0124 - NaN, with which JSON says "missing"
    if to == pa.string():
        values = [each if isinstance(each, str | None) else _json(each) for each in values]
    most = EXACT_INTEGERS.get(to)
    if most is None:
        return _fit_python(values, to, 0)
    rounded = [at for at, each in enumerate(values) if isinstance(each, int) and abs(each) > most]
    for at in rounded:  # beside floats they would be taken for floats
        values[at] = None
    fitted, misfits = _fit_python(values, to, 0)
    return fitted, sorted(misfits + [(at, f"an integer has too many digits for {to}") for at in rounded])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _fit_python(values: Sequence[Any], to: pa.DataType, offset: int) -> tuple[pa.Array, Misfits]:
    try:
        fitted, misfits = fit(pa.array(values), to)
    except _NOT_ONE_TYPE:
        if len(values) == 1 and isinstance(values[0], int):  # of more than 64 bits, with their sign
            fitted, misfits = fit(pa.array([str(values[0])]), to)
            return fitted, [(offset, why) for _, why in misfits]
        if len(values) == 1:
            return pa.nulls(1, to), [(offset, f"{type(values[0]).__name__} does not fit {to}")]
    else:
        return fitted, [(offset + index, why) for index, why in misfits]
    half = len(values) // 2
    left, left_misfits = _fit_python(values[:half], to, offset)
    right, right_misfits = _fit_python(values[half:], to, offset + half)
    return pa.concat_arrays([left, right]), left_misfits + right_misfits


_NOT_ONE_TYPE = (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError)


def infer_python(values: Sequence[Any]) -> pa.DataType:
    """The type that holds all `values`; null if there is none among them, string where no other type holds them."""
    try:
        return pa.array([None if each != each else each for each in values]).type  # noqa: PLR0124
    except _NOT_ONE_TYPE:
        return pa.string()


_MOST_DIGITS: Final = 18
_FEW: Final = 64


def infer_text(cells: Sequence[str | None]) -> pa.DataType:
    """Integer, float or truth value if all cells are that, null if none is filled, else string.

    A number only if no digit would be lost ("007", or twenty digits as a float).
    """
    filled = [cell for cell in cells if cell]
    if not filled:
        return pa.null()
    try:
        strings = pa.array(filled, pa.string())
    except UnicodeEncodeError:
        return pa.string()
    is_numeric = not any(map(_loses_digits, filled))
    for to in (pa.int64(), pa.float64(), pa.bool_()) if is_numeric else (pa.bool_(),):
        try:
            _ = safe_cast(strings.slice(0, _FEW), to)  # most columns of text say here that they are no numbers
            return safe_cast(strings, to).type
        except pa.ArrowException:
            continue
    return pa.string()


def _loses_digits(cell: str) -> bool:
    """Whether a number would not show how it was written: "007", "0x1F", and integers beyond those of 64 bits."""
    digits = cell.lstrip("+-")
    return (digits[:1] == "0" and digits[1:2].isalnum()) or (len(digits) > _MOST_DIGITS and digits.isdecimal())


def is_name(name: str) -> bool:
    """Whether a column can be called so: a name that was not UTF-8 in its file cannot be written down."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
