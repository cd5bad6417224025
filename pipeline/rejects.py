"""Rejects: the documents that a table does not hold, each with its reason. One schema, one vocabulary, one builder.

Every stage rejects (reading, checking, embedding, writing, committing) and all of them make the same rows, so that a
reject is the same thing wherever it is met. What is stored of them is `pipeline.table.companions.rejects`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "COPIES",
    "COPY",
    "DELETED",
    "DUPLICATE",
    "EMPTY",
    "FINAL",
    "KEY",
    "KILLED_ONCE",
    "KILLER",
    "MALFORMED",
    "MAX_DETAIL",
    "MISSING_ID",
    "NOT_FINITE",
    "NOT_TEXT",
    "NOT_UTF8",
    "NULL_TEXT",
    "PLACE",
    "REJECTS",
    "TOO_LONG",
    "UNREADABLE",
    "WHOLE_SLICE",
    "as_of_run",
    "count_reasons",
    "rejects",
    "slice_rejects",
]

MAX_DETAIL: Final = 500
"""Characters of a detail that are kept."""

WHOLE_SLICE: Final = -1
"""The row of a reject that stands for a whole slice: nobody knows its rows."""

NULL_TEXT: Final = "null text"
EMPTY: Final = "empty"
MISSING_ID: Final = "missing id"
MALFORMED: Final = "malformed row"
NOT_UTF8: Final = "not UTF-8"
NOT_TEXT: Final = "not text"
TOO_LONG: Final = "too long"
UNREADABLE: Final = "unreadable"
NOT_FINITE: Final = "vector not finite"

DUPLICATE: Final = "duplicate id"
COPY: Final = "duplicate of "
"""What the reason of a later copy of a text begins with; the id of the document that has the text follows."""
COPIES: Final = f"{COPY}another"
"""All copies, where reasons are counted."""
DELETED: Final = "deleted"
"""The document was deleted for good and came again."""

KILLER: Final = "kills its process"
KILLED_ONCE: Final = "killed its process once"
"""Written as soon as it happens, before the slice is decided (`pipeline.flow.poison.tracker`)."""

FINAL: Final = frozenset({NULL_TEXT, EMPTY, MISSING_ID, MALFORMED, NOT_UTF8, DELETED})
"""Reasons that the bytes of a file decide, or the owner of the table: they cannot pass. All others can."""

KEY: Final = {b"lance-schema:unenforced-primary-key": b"true"}
"""Marks a field of a key for Lance. Without it two merge_inserts at once insert the same new key twice: 200 rows for 50
keys and four writers."""

REJECTS: Final = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("slice", pa.int64(), nullable=False, metadata=KEY),
        pa.field("row", pa.int64(), nullable=False, metadata=KEY),
        pa.field("stage", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("run", pa.string()),
    ]
)
"""One row for each slice and row. ``row`` -1: the slice as a whole. ``run`` is null until the driver commits."""

PLACE: Final = ["slice", "row"]
"""Where a document comes from."""


def rejects(
    rows: pa.Table,
    *,
    stage: str,
    reason: str | pa.Array | pa.ChunkedArray,
    detail: str | pa.Array | pa.ChunkedArray = "",
    run: str | None = None,
) -> pa.Table:
    """The rejects (REJECTS) of `rows`.

    Args:
        rows: n rows with id, source, slice and row; other columns are ignored.
        stage: where they were refused: read, check, embed or commit.
        reason: of all of them, or of each, string [n].
        detail: what a person should know besides, up to `MAX_DETAIL` characters of which are kept.
        run: the run that rejects; None: not known yet.
    """
    count = rows.num_rows
    columns = {name: rows.column(name) for name in ("id", "source", *PLACE)}
    columns |= {"stage": _each(stage, count), "reason": _each(reason, count), "run": _each(run, count)}
    columns["detail"] = pc.utf8_slice_codeunits(_each(detail, count), 0, MAX_DETAIL)
    arrays = [columns[field.name].cast(field.type) for field in REJECTS]
    return pa.Table.from_arrays(arrays, schema=REJECTS)


def slice_rejects(
    bad: Sequence[tuple[int, str | None, str, str]], source: str, slice_: int, stage: str = "read"
) -> pa.Table:
    """Rejects (REJECTS) of one slice from (row, id, reason, detail); `WHOLE_SLICE` for the slice as a whole."""
    rows, ids, reasons, details = zip(*bad, strict=True) if bad else ((), (), (), ())
    count = len(bad)
    table = pa.table(
        {
            "id": pa.array(ids, pa.string()),
            "source": _each(source, count),
            "slice": pa.array(np.full(count, slice_), pa.int64()),
            "row": pa.array(rows, pa.int64()),
        }
    )
    # Half of a surrogate pair is no text, and may stand in what a parser complains of.
    told = pa.array([text.encode("utf-8", "replace").decode() for text in details], pa.string())
    return rejects(table, stage=stage, reason=pa.array(reasons, pa.string()), detail=told)


def as_of_run(rejected: pa.Table, run: str) -> pa.Table:
    """`rejected` (REJECTS) as rejects of `run`."""
    at = REJECTS.get_field_index("run")
    return rejected.set_column(at, REJECTS.field(at), _each(run, rejected.num_rows))


def count_reasons(reasons: pa.Array | pa.ChunkedArray) -> dict[str, int]:
    """Reason → how often it is among `reasons`, most frequent first; all copies are counted as `COPIES`."""
    counted = pc.if_else(pc.starts_with(reasons, COPY), COPIES, reasons).value_counts()
    counts = {each["values"].as_py(): each["counts"].as_py() for each in counted}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _each(value: str | pa.Array | pa.ChunkedArray | None, count: int) -> pa.Array | pa.ChunkedArray:
    return pa.repeat(pa.scalar(value, pa.string()), count) if value is None or isinstance(value, str) else value
