"""Which index a column gets: by its type, by what is asked of it, by how many values it has.

Vectors get one as soon as reading them all takes long, which depends on their bytes. Measured at 15k × 256 float16,
cosine: IVF_RQ builds in 0.8 s, IVF_PQ in 41 s; with 5 bits and refinement its recall@10 is 1.0 also at 2,048
dimensions, and stays so for queries of another routing weight, for which 1 bit is not enough (.95).

Of the table's own columns those get one by which rows are asked for: ids, documents, sources. Lengths and counts do
not. Neither does ``slice``: the ledger reads it as a whole, and a condition on it is met by 8 bytes a row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.types as kinds

from pipeline.table.schema import VECTOR, document_column, table_schema

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_BITMAP_VALUES", "MIN_BYTES", "TEXT_PARAMETERS", "Choice", "choose_indexes", "vector_index"]

MIN_BYTES: Final = 50_000_000
"""Of all vectors. Below, comparing with every one of them is exact and takes less than 0.1 s."""

MAX_BITMAP_VALUES: Final = 1_000
"""Values of a column up to which a bitmap of rows is kept for each."""

TEXT_PARAMETERS: Final = {"base_tokenizer": "icu/split", "with_position": True}
"""The tokenizer finds words of scripts without blanks (台風, ค้นหา), and the parts of `node.js` and `foo_bar`; `++` is
no word. Positions are for phrases: they make the index 1.8 times as large and queries no slower."""

PARTITION_ROWS: Final = {"IVF_RQ": 4_096, "IVF_SQ": 8_192}
"""Rows of a partition when an index is trained, Lance's own targets."""

_RQ_BITS: Final = 5
_RQ_MULTIPLE: Final = 8
"""IVF_RQ takes dimensions that are multiples of this; others get scalar quantization."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The index of a column."""

    kind: str | None
    """Lance's name of it; None: it gets none."""
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    why_not: str = ""
    """Why it gets none."""


def choose_indexes(
    schema: pa.Schema, rows: int, *, min_bytes: int = MIN_BYTES, has_few_values: Callable[[str], bool] = lambda _: False
) -> dict[str, Choice]:
    """The index of each column of a table.

    Args:
        schema: the table's.
        rows: that it has.
        min_bytes: vectors that take fewer get no index.
        has_few_values: whether a column has at most `MAX_BITMAP_VALUES`; asked only where that decides.
    """
    if not rows:
        return dict.fromkeys(schema.names, Choice(None, why_not="the table is empty"))
    own = set(table_schema(1, chunked=document_column(schema) != "id").names)
    asked_for = {"id", document_column(schema), "source"}
    choices: dict[str, Choice] = {}
    for column in schema:
        if column.name == VECTOR:
            choices[VECTOR] = vector_index(rows, column.type.list_size, min_bytes=min_bytes)
        elif column.name in asked_for:
            choices[column.name] = Choice("BTREE")
        elif column.name == "text":
            choices["text"] = Choice("INVERTED", dict(TEXT_PARAMETERS))
        elif column.name in own:
            choices[column.name] = Choice(None, why_not="rows are hardly ever asked for by it")
        else:
            choices[column.name] = _metadata_index(column, has_few_values)
    return choices


def vector_index(rows: int, dimension: int, *, min_bytes: int = MIN_BYTES) -> Choice:
    """The index of `rows` vectors of float16 [`dimension`]."""
    size = 2 * rows * dimension
    if size < min_bytes:
        bound, here = f"{min_bytes / 1e6:,.0f} MB", f"{size / 1e6:,.1f} MB"
        return Choice(None, why_not=f"exact search is fast below {bound} of vectors; these are {here}")
    if rows < 2:
        return Choice(None, why_not="there is one row only")
    kind = "IVF_SQ" if dimension % _RQ_MULTIPLE else "IVF_RQ"
    bits = {"num_bits": _RQ_BITS} if kind == "IVF_RQ" else {}
    return Choice(kind, {"metric": "cosine", "target_partition_size": PARTITION_ROWS[kind], **bits})


def _metadata_index(column: pa.Field, has_few_values: Callable[[str], bool]) -> Choice:
    kind = column.type
    if (kinds.is_list(kind) or kinds.is_large_list(kind)) and _is_plain(kind.value_type):
        return Choice("LABEL_LIST")
    if not _is_plain(kind):
        return Choice(None, why_not=f"{kind} cannot be indexed")
    return Choice("BITMAP" if has_few_values(column.name) else "BTREE")


def _is_plain(kind: pa.DataType) -> bool:
    """Whether an index of such values answers as a scan would."""
    return (
        kinds.is_boolean(kind)
        or kinds.is_integer(kind)
        or kinds.is_float32(kind)
        or kinds.is_float64(kind)
        or kinds.is_string(kind)
        or kinds.is_large_string(kind)
        or kinds.is_date(kind)
        or kinds.is_timestamp(kind)
        or kinds.is_decimal128(kind)
    )
