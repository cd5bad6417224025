"""The check: which rows are documents, and why the others are not.

Rows of any format come in (`to_rows`), already of the table's types; documents and rejects come out (`check`). Whole
columns are looked at, never rows. What is rejected here costs nothing further: it never reaches an encoder.
"""

from __future__ import annotations

import posixpath
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.columns import first_alike
from pipeline.corpus.formats.columns import fit, fit_metadata
from pipeline.corpus.partitions import partition_values
from pipeline.rejects import DUPLICATE, EMPTY, MALFORMED, MISSING_ID, NOT_UTF8, NULL_TEXT, rejects, slice_rejects

if TYPE_CHECKING:
    from pipeline.corpus.formats.base import RawRows, ReaderOptions
    from pipeline.corpus.slices import Slice
    from pipeline.corpus.source_file import SourceFile

__all__ = ["MISFITS", "check", "documents_schema", "to_rows"]

MISFITS: Final = pa.schema(
    [("source", pa.string()), ("slice", pa.int64()), ("row", pa.int64()), ("column", pa.string())]
)
"""Values that a document has in its file and not in the table, because they do not fit its column's type."""


_INVISIBLE: Final = (
    r"^[\s\p{Z}\p{Cf}\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}"
    r"\x{E0000}-\x{E0FFF}]*$"
)
"""White space, and what Unicode calls ignorable: soft hyphens, joiners, marks of direction and of byte order, fillers,
variation selectors."""


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
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """One slice's rows with the columns of a document, ids and texts still unchecked; its rejects; its misfits.

    Rows whose id or text cannot be brought to the table's types are rejected here, at stage ``read``. Metadata that
    cannot is null, and among the misfits (MISFITS).
    """
    table = raw.table
    if table is None:
        raise ValueError("rows that were only counted cannot become documents")
    misfits: dict[int, tuple[str, str]] = {}
    text = _column(table, options.text or "text", pa.large_string(), misfits)
    if options.id is None or file.format == "text":
        ids = _derived_ids(file.uri, raw.rows)
    else:
        ids = _column(table, options.id, pa.string(), misfits)
    columns: dict[str, Any] = {
        "id": ids,
        "text": text,
        "source": _repeat(file.uri, pa.string(), len(raw.rows)),
        "slice": _repeat(part.id, pa.int64(), len(raw.rows)),
        "row": pa.array(raw.rows),
    }
    unfit = [each for each in raw.misfits if each[1] in keep.names]
    partitions = partition_values(file.uri)
    for field in keep:
        columns[field.name], wrong = _metadata(table, field, partitions.get(field.name))
        unfit += [(int(raw.rows[index]), field.name) for index in wrong]
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
    return rows, slice_rejects(bad, file.uri, part.id), _misfits(unfit, file.uri, part.id)


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


def _metadata(table: pa.Table, field: pa.Field, partition: str | None) -> tuple[pa.Array, list[int]]:
    """A column that the table of documents keeps, and where its values do not fit; of a file without it, null."""
    if field.name in table.column_names:
        fitted, wrong = fit_metadata(table.column(field.name), field.type)
        return fitted, [index for index, _ in wrong]
    if partition is None:
        return pa.nulls(table.num_rows, field.type), []
    value, wrong = fit(pa.array([partition]), field.type)
    return pa.repeat(value[0], table.num_rows), list(range(table.num_rows)) if wrong else []


def _misfits(unfit: list[tuple[int, str]], uri: str, slice_: int) -> pa.Table:
    rows, columns = zip(*unfit, strict=True) if unfit else ((), ())
    places = {"source": _repeat(uri, pa.string(), len(unfit)), "slice": _repeat(slice_, pa.int64(), len(unfit))}
    return pa.table({**places, "row": pa.array(rows, pa.int64()), "column": pa.array(columns, pa.string())})


def _repeat(value: Any, of: pa.DataType, times: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, of), times)


def _derived_ids(uri: str, rows: np.ndarray) -> pa.Array:
    digest = blake2b(uri.encode(), digest_size=6).hexdigest()
    prefix = f"{posixpath.basename(uri)}-{digest}:"
    return pc.binary_join_element_wise(prefix, pa.array(rows).cast(pa.string()), "")


def check(rows: pa.Table, keep: pa.Schema) -> tuple[pa.Table, pa.Table]:
    """Documents and rejects of a batch.

    A row is rejected, at stage ``check``, for the first of these that holds: "null text"; "empty" (nothing but white
    space and characters without width); "missing id" (null, or the same); "duplicate id" (another row of the batch has
    it; the first one stays).

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
    """Null, empty or nothing but white space and characters without width."""
    blank = pc.or_(pc.utf8_is_space(column), pc.match_substring_regex(column, _INVISIBLE))
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
