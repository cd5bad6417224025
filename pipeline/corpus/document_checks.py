"""The check: which rows are documents, and why the others are not.

Rows of any format come in (`to_rows`), already of the table's types; documents and rejects come out (`check`). Whole
columns are looked at, never rows. What is rejected here costs nothing further: it never reaches an encoder.
"""

from __future__ import annotations

import posixpath
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import first_alike
from pipeline.corpus.formats.columns import fit
from pipeline.rejects import DUPLICATE, EMPTY, MALFORMED, MISSING_ID, NOT_UTF8, NULL_TEXT, rejects, slice_rejects

if TYPE_CHECKING:
    from pipeline.corpus.formats.base import RawRows, ReaderOptions
    from pipeline.corpus.slices import Slice
    from pipeline.corpus.source_file import SourceFile

__all__ = ["check", "documents_schema", "to_rows"]


def documents_schema(keep: pa.Schema) -> pa.Schema:
    """id, text, source, slice, row, and the metadata columns of `keep`."""
    own = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("slice", pa.int64(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
    return pa.schema([*own, *keep])


def to_rows(
    raw: RawRows, file: SourceFile, part: Slice, options: ReaderOptions, keep: pa.Schema
) -> tuple[pa.Table, pa.Table]:
    """One slice's rows with the columns of a document, ids and texts still unchecked; its rejects.

    Rows whose id, text or metadata cannot be brought to the table's types are rejected here, at stage ``read``.
    """
    table = raw.table
    if table is None:
        raise ValueError("rows that were only counted cannot become documents")
    misfits: dict[int, tuple[str, str]] = {}
    text = _column(table, options.text or "text", pa.large_string(), misfits)
    if options.id is None or file.format == "text":
        ids = _derived_ids(file.uri, raw.rows)
    else:
        ids = _column(_without_nan(table, options.id), options.id, pa.string(), misfits)
    columns: dict[str, Any] = {
        "id": ids,
        "text": text,
        "source": _repeat(file.uri, pa.string(), len(raw.rows)),
        "slice": _repeat(part.id, pa.int64(), len(raw.rows)),
        "row": pa.array(raw.rows),
    }
    columns.update((field.name, _column(table, field.name, field.type, misfits)) for field in keep)
    rows = pa.table(columns)
    bad = [(each.row, None, each.reason, each.detail) for each in raw.bad]
    if misfits:
        known: list[str | None] = ids.take(pa.array(list(misfits))).to_pylist()
        bad += [
            (int(raw.rows[index]), identifier, reason, detail)
            for (index, (reason, detail)), identifier in zip(misfits.items(), known, strict=True)
        ]
        good = np.ones(len(raw.rows), dtype=bool)
        good[list(misfits)] = False
        rows = rows.filter(pa.array(good))
    return rows, slice_rejects(bad, file.uri, part.id)


def _column(
    table: pa.Table,
    name: str,
    to: pa.DataType,
    misfits: dict[int, tuple[str, str]],
) -> pa.Array:
    fitted, wrong = fit(table.column(name), to)
    for index, detail in wrong:
        reason = NOT_UTF8 if "utf8" in detail.lower() else MALFORMED
        misfits.setdefault(index, (reason, f"{name}: {detail}"))
    return fitted


def _without_nan(table: pa.Table, name: str) -> pa.Table:
    """Not a number is no id; as text it would be one, and the same for all such rows."""
    column = table.column(name)
    if not pa.types.is_floating(column.type):
        return table
    given = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return table.set_column(table.column_names.index(name), name, given)


def _repeat(value: Any, of: pa.DataType, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, of), times)


def _derived_ids(uri: str, rows: np.ndarray) -> pa.Array:
    digest = blake2b(uri.encode(), digest_size=6).hexdigest()
    prefix = f"{posixpath.basename(uri)}-{digest}:"
    return pc.binary_join_element_wise(prefix, pa.array(rows).cast(pa.string()), "")


def check(rows: pa.Table, keep: pa.Schema) -> tuple[pa.Table, pa.Table]:
    """Documents and rejects of a batch.

    A row is rejected, at stage ``check``, for the first of these that holds: "null text"; "empty" (nothing but white
    space); "missing id" (null or nothing but white space); "duplicate id" (another row of the batch has it; the first
    one stays).

    Args:
        rows: any number of slices from `to_rows`, one after the other.
        keep: names and types of the metadata columns.

    Returns:
        Tables of `documents_schema(keep)` and `REJECTS`, in the order of the rows.
    """
    text, ids = rows.column("text"), rows.column("id")
    reasons = np.full(rows.num_rows, "", dtype=object)
    details = np.full(rows.num_rows, "", dtype=object)
    for reason, mask in ((MISSING_ID, _blank(ids)), (EMPTY, _blank(text)), (NULL_TEXT, _numpy(pc.is_null(text)))):
        reasons[mask] = reason
    _mark_duplicates(rows, reasons, details)
    bad = reasons != ""
    documents = rows if not bad.any() else rows.filter(pa.array(~bad))
    schema = documents_schema(keep)
    refused = rejects(
        rows.filter(pa.array(bad)),
        stage="check",
        reason=pa.array(reasons[bad], pa.string()),
        detail=pa.array(details[bad], pa.string()),
    )
    return documents.select(schema.names).cast(schema), refused


def _numpy(mask: pa.ChunkedArray) -> np.ndarray:
    return mask.to_numpy().astype(bool)


def _blank(column: pa.ChunkedArray) -> np.ndarray:
    """Null, empty or nothing but white space."""
    blank = pc.or_(pc.equal(pc.binary_length(column), 0), pc.utf8_is_space(column))
    return _numpy(pc.fill_null(blank, True))


def _mark_duplicates(rows: pa.Table, reasons: np.ndarray, details: np.ndarray) -> None:
    candidates = np.flatnonzero(reasons == "")
    if not len(candidates):
        return
    holder = candidates[first_alike(rows.column("id").take(pa.array(candidates)))]
    again = candidates[holder != candidates]
    if not len(again):
        return
    held_by = pa.array(holder[holder != candidates])
    sources = rows.column("source").take(held_by).to_pylist()
    numbers = rows.column("row").take(held_by).to_pylist()
    reasons[again] = DUPLICATE
    details[again] = [f"{source}:{row} has this id too" for source, row in zip(sources, numbers, strict=True)]
