"""How many rows have each value of a column, under a condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import UsageError
from pipeline.table.query.literals import in_words, is_comparable
from pipeline.wording import brief

if TYPE_CHECKING:
    from collections.abc import Sequence

    import lance

__all__ = ["count_values"]


def count_values(
    dataset: lance.LanceDataset, columns: Sequence[str], where: str | None, most: int
) -> dict[str, pa.Table]:
    """For each column its `most` frequent values: value, count int64; the greatest count first, then by value.

    A list counts once for each of its values; rows without a value are counted under null.

    Raises:
        UsageError: there is no such column, or its values cannot be compared.
    """
    names = list(dict.fromkeys(columns))
    for name in names:
        _check(dataset.schema, name)
    counted: dict[str, pa.Table | None] = dict.fromkeys(names)
    for batch in dataset.to_batches(columns=names, filter=where):
        for name in names:
            counted[name] = _added(counted[name], _counts(batch.column(name)))
    return {name: _greatest(_added(counted[name], _counts(_none_of(dataset.schema, name))), most) for name in names}


def _check(schema: pa.Schema, name: str) -> None:
    if name not in schema.names:
        fit = ", ".join(field.name for field in schema if is_comparable(_value_type(field.type)))
        raise UsageError(f"facet {brief(name)}: there is no such column; there are {fit}")
    kind = schema.field(name).type
    if not is_comparable(_value_type(kind)):
        raise UsageError(f"facet {name!r}: the column holds {in_words(kind)}, which cannot be counted")


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind


def _none_of(schema: pa.Schema, name: str) -> pa.Array:
    return pa.array([], schema.field(name).type)


def _counts(values: pa.Array) -> pa.Table:
    if isinstance(values, pa.ListArray | pa.LargeListArray):
        # A value twice in one list counts once.
        rows = pa.table({"row": pc.list_parent_indices(values), "value": values.flatten()})
        values = rows.group_by(["row", "value"]).aggregate([]).column("value")
    if isinstance(values.type, pa.DictionaryType):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type):  # 0 and -0 are one value; Arrow sorts no 16 bits
        values = pc.add(values.cast(pa.float32()) if pa.types.is_float16(values.type) else values, 0.0)
    return pa.table({"value": values}).group_by("value").aggregate([([], "count_all")])


def _added(sums: pa.Table | None, counts: pa.Table) -> pa.Table:
    counts = counts.rename_columns(["value", "count"])
    if sums is None:
        return counts
    joined = pa.concat_tables([sums, counts]).group_by("value").aggregate([("count", "sum")])
    return joined.rename_columns(["value", "count"])


def _greatest(counts: pa.Table, most: int) -> pa.Table:
    order = pc.sort_indices(counts, [("count", "descending"), ("value", "ascending")])
    return counts.take(order[:most])
