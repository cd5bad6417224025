"""Arrow types: what a table holds of them, which one holds the values of two, and a cast that changes no value."""

from __future__ import annotations

from decimal import Decimal
from typing import Final, cast

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["EXACT_INTEGERS", "plain_type", "safe_cast", "widened"]

EXACT_INTEGERS: Final[dict[pa.DataType, int]] = {
    pa.float16(): 1 << 11,
    pa.float32(): 1 << 24,
    pa.float64(): 1 << 53,
}
"""Up to here a float tells integers apart."""
_UNITS: Final = ("s", "ms", "us", "ns")


def plain_type(given: pa.DataType, null: pa.DataType = pa.string()) -> pa.DataType:  # noqa: B008 - immutable
    """The type as a table can hold it: no dictionaries, extensions or views; `null` for what was only ever null."""
    if isinstance(given, pa.BaseExtensionType):
        return plain_type(given.storage_type, null)
    if isinstance(given, pa.DictionaryType):
        return plain_type(given.value_type, null)
    if pa.types.is_null(given):
        return null
    if pa.types.is_string_view(given):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(given) else _plain_nested(given, null)


def _plain_nested(given: pa.DataType, null: pa.DataType) -> pa.DataType:
    if isinstance(given, pa.StructType):
        fields = [field.with_type(plain_type(field.type, null)).with_nullable(True) for field in given.fields]
        return pa.struct(fields)
    if isinstance(given, pa.ListType):
        return pa.list_(plain_type(given.value_type, null))
    return pa.large_list(plain_type(given.value_type, null)) if isinstance(given, pa.LargeListType) else given


def widened(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """The narrowest plain type that holds the values of both: integers → floats → strings, coarse units → finer ones.

    A date becomes a timestamp beside one, and of two zones UTC is left. Integers for which there is no type of 64 bits
    become strings, which hold each digit; so do bytes beside strings, which they mostly are.
    """
    found = one if one == other else _widened_instants(one, other) or _widened_nested(one, other)
    if found is not None:
        return found
    both = (one, other)
    if any(map(pa.types.is_large_string, both)):
        return pa.large_string()
    mixed_signs = any(map(pa.types.is_uint64, both)) and any(map(pa.types.is_signed_integer, both))
    if mixed_signs or any(map(pa.types.is_string, both)):
        return pa.string()
    if any(map(pa.types.is_decimal, both)) and any(map(pa.types.is_floating, both)):
        return pa.float64()
    if any(map(pa.types.is_decimal, both)):
        both = (_as_decimal(one), _as_decimal(other))
    try:
        return pa.unify_schemas([pa.schema([("", each)]) for each in both], promote_options="permissive")[0].type
    except pa.ArrowException:
        return pa.string()


def _widened_instants(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Of timestamps and dates; None: both are dates, or one is neither."""
    stamps = [each for each in (one, other) if isinstance(each, pa.TimestampType)]
    if not stamps or not all(pa.types.is_timestamp(each) or pa.types.is_date(each) for each in (one, other)):
        return None
    zones = {each.tz for each in stamps}
    return pa.timestamp(
        max((each.unit for each in stamps), key=_UNITS.index), zones.pop() if len(zones) == 1 else "UTC"
    )


def _widened_nested(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Of two lists, or of two structs, whose fields are joined by name; None: they are neither."""
    if _is_list(one) and _is_list(other):
        return _widened_lists(one, other, widened(one.field(0).type, other.field(0).type))
    if not (isinstance(one, pa.StructType) and isinstance(other, pa.StructType)):
        return None
    fields = {field.name: field.type for field in one.fields}
    for field in other.fields:
        fields[field.name] = widened(fields.get(field.name, pa.null()), field.type)
    return pa.struct(list(fields.items()))


def _widened_lists(one: pa.DataType, other: pa.DataType, item: pa.DataType) -> pa.DataType:
    if pa.types.is_large_list(one) or pa.types.is_large_list(other):
        return pa.large_list(item)
    sizes = {each.list_size if isinstance(each, pa.FixedSizeListType) else -1 for each in (one, other)}
    return pa.list_(item, sizes.pop() if len(sizes) == 1 and pa.types.is_primitive(item) else -1)


def _as_decimal(given: pa.DataType) -> pa.DataType:
    """Integers as decimals that hold each of them, for which Arrow takes too few digits."""
    return pa.decimal128(len(str(2**given.bit_width)), 0) if pa.types.is_integer(given) else given


def safe_cast(array: pa.Array, to: pa.DataType) -> pa.Array:
    """As Arrow's safe cast, which lets values become others all the same, but for these.

    Numbers do not become dates, nor dates numbers; 2 is no truth value; fields of a struct, hours of a timestamp and
    digits of a decimal are not dropped; nothing finite becomes infinite.

    Raises:
        pa.ArrowNotImplementedError: no value of `array` can become a `to`.
        pa.ArrowInvalid: some value cannot.
    """
    given = array.type
    if not _comparable(given, to):
        raise pa.ArrowNotImplementedError(f"{given} does not fit {to}")
    fitted = cast("pa.Array", array.cast(to))
    if pa.types.is_floating(to) and pc.any(pc.and_(pc.is_inf(fitted), pc.invert(_infinite(array)))).as_py():
        raise pa.ArrowInvalid(f"a number is too large for {to}")
    if pa.types.is_floating(to) and _is_text(given) and not _tells_apart(array, fitted):
        raise pa.ArrowInvalid(f"an integer has too many digits for {to}")
    if _may_lose(given, to) and not fitted.cast(given).equals(array):
        raise pa.ArrowInvalid(f"{given} would lose something as {to}")
    return fitted


def _infinite(array: pa.Array) -> pa.Array:
    if pa.types.is_floating(array.type):
        return cast("pa.Array", pc.is_inf(array))
    if _is_text(array.type):
        return cast("pa.Array", pc.match_substring(array, "inf", ignore_case=True))
    return pa.repeat(pa.scalar(False), len(array))


def _tells_apart(texts: pa.Array, floats: pa.Array) -> bool:
    """Whether texts that are integers are so as floats, as Arrow asks of integers."""
    digits = len(str(EXACT_INTEGERS[floats.type]))
    long = pc.match_substring_regex(texts, rf"^[+-]?[0-9]{{{digits},}}$")
    pairs = zip(texts.filter(long).to_pylist(), floats.filter(long).to_pylist(), strict=True)
    return all(Decimal(text) == number for text, number in pairs)


def _may_lose(given: pa.DataType, to: pa.DataType) -> bool:
    """Whether Arrow's cast may drop a part of a value without a word."""
    if pa.types.is_timestamp(given) and pa.types.is_date(to):
        return True
    if pa.types.is_decimal(given) or pa.types.is_decimal(to):
        return pa.types.is_floating(given) or pa.types.is_floating(to)
    if pa.types.is_integer(given) and pa.types.is_float16(to):
        return True
    if isinstance(given, pa.StructType) and isinstance(to, pa.StructType):
        shared = {field.name for field in given.fields} & {field.name for field in to.fields}
        dropped = given.num_fields > len(shared)
        return dropped or any(_may_lose(given.field(name).type, to.field(name).type) for name in shared)
    return _is_list(given) and _is_list(to) and _may_lose(given.field(0).type, to.field(0).type)


def _comparable(given: pa.DataType, to: pa.DataType) -> bool:
    """Whether a value of `given` means the same as a `to`; texts can mean anything."""
    if _is_list(given) and _is_list(to):
        return _comparable(given.field(0).type, to.field(0).type)
    if isinstance(given, pa.StructType) and isinstance(to, pa.StructType):
        shared = {field.name for field in given.fields} & {field.name for field in to.fields}
        return all(_comparable(given.field(name).type, to.field(name).type) for name in shared)
    return _is_text(given) or _is_text(to) or pa.types.is_null(given) or _kind(given) == _kind(to)


def _kind(given: pa.DataType) -> str:
    if pa.types.is_integer(given) or pa.types.is_floating(given) or pa.types.is_decimal(given):
        return "number"
    if pa.types.is_timestamp(given) or pa.types.is_date(given):
        return "date"
    return "time" if pa.types.is_time(given) else "duration" if pa.types.is_duration(given) else str(given)


def _is_text(given: pa.DataType) -> bool:
    is_text = pa.types.is_string(given) or pa.types.is_large_string(given) or pa.types.is_string_view(given)
    is_binary = pa.types.is_binary(given) or pa.types.is_large_binary(given) or pa.types.is_binary_view(given)
    return is_text or is_binary or pa.types.is_fixed_size_binary(given)


def _is_list(given: pa.DataType) -> bool:
    return pa.types.is_list(given) or pa.types.is_large_list(given) or pa.types.is_fixed_size_list(given)
