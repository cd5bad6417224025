"""The kept columns of a table, and what each holds, in the kinds by which people choose values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa
from pyarrow import types

from pipeline.table.schema import document_column, table_schema

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KeptColumn", "kept_columns"]

Kind = Literal["text", "boolean", "number", "date", "time", "instant", "other"]


def _is_text(kind: pa.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind)


def _is_number(kind: pa.DataType) -> bool:
    return types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)


_KINDS: Final[tuple[tuple[Callable[[pa.DataType], bool], Kind], ...]] = (
    (_is_text, "text"),
    (types.is_boolean, "boolean"),
    (_is_number, "number"),
    (types.is_date, "date"),
    (lambda kind: isinstance(kind, pa.TimestampType) and kind.tz is not None, "instant"),
    (types.is_timestamp, "time"),
)


@dataclass(frozen=True, slots=True)
class KeptColumn:
    """A metadata column."""

    name: str
    kind: Kind
    """Of its values, or of those in its lists; a ``time`` has no zone, an ``instant`` has one."""
    is_list: bool


def kept_columns(schema: pa.Schema) -> list[KeptColumn]:
    """The columns of a table that are not its own, in their order."""
    own = set(table_schema(1, chunked=document_column(schema) != "id").names)
    return [_kept(field) for field in schema if field.name not in own]


def _kept(field: pa.Field) -> KeptColumn:
    is_list = types.is_list(field.type) or types.is_large_list(field.type)
    plain = field.type.value_type if is_list else field.type
    plain = plain.value_type if types.is_dictionary(plain) else plain
    found: list[Kind] = [kind for belongs, kind in _KINDS if belongs(plain)]
    return KeptColumn(field.name, found[0] if found else "other", is_list)
