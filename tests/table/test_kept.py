from __future__ import annotations

import pyarrow as pa

from pipeline.table.kept import KeptColumn, kept_columns
from pipeline.table.schema import table_schema


def test_each_kept_column_has_the_kind_by_which_people_choose_and_own_columns_are_none():
    keep = {
        "words": (pa.large_string(), "text", False),
        "tags": (pa.list_(pa.string()), "text", True),
        "code": (pa.dictionary(pa.int32(), pa.string()), "text", False),
        "good": (pa.bool_(), "boolean", False),
        "price": (pa.decimal128(8, 2), "number", False),
        "counts": (pa.large_list(pa.int8()), "number", True),
        "day": (pa.date64(), "date", False),
        "local": (pa.timestamp("s"), "time", False),
        "seen": (pa.timestamp("ns", "Europe/Berlin"), "instant", False),
        "clock": (pa.time32("s"), "other", False),
        "place": (pa.struct({"x": pa.float32()}), "other", False),
    }
    schema = table_schema(8, pa.schema([(name, kind) for name, (kind, *_) in keep.items()]))
    assert kept_columns(schema) == [KeptColumn(name, kind, is_list) for name, (_, kind, is_list) in keep.items()]
