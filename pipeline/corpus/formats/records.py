"""From records, mappings of Python values, to columns: a value that does not fit costs its row and nothing else."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline.corpus.formats.base import BadRow, RawRows, ReaderOptions, Skip
from pipeline.corpus.formats.columns import fit_python, infer_python, is_name
from pipeline.corpus.formats.lines import in_blocks, in_slices
from pipeline.rejects import MALFORMED, NOT_UTF8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["Record", "column_types", "parse_object", "records_schema", "stream_records", "to_raw_rows"]

Record = dict[str, Any] | BadRow
"""A row, or why there is none; `BadRow.row` is not looked at."""


def column_types(options: ReaderOptions, keep: pa.Schema) -> dict[str, pa.DataType]:
    """What each column of the options is read as: text and id as strings, metadata as `keep` says."""
    return {name: pa.large_string() for name in options.columns} | {field.name: field.type for field in keep}


def parse_object(text: bytes) -> Record:
    """One JSON object."""
    try:
        parsed: object = json.loads(text.decode())
    except UnicodeDecodeError as error:
        return BadRow(-1, NOT_UTF8, str(error))
    except (ValueError, RecursionError) as error:
        return BadRow(-1, MALFORMED, f"not JSON: {error}")
    if not isinstance(parsed, dict):
        return BadRow(-1, MALFORMED, f"a JSON {type(parsed).__name__}, not an object")
    return parsed


def records_schema(records: Iterable[Record]) -> pa.Schema:
    """All keys, in the order in which they come, each with the type that holds its values."""
    objects = [each for each in records if isinstance(each, dict)]
    names = dict.fromkeys(name for each in objects for name in each if is_name(name))
    return pa.schema([(name, infer_python([each.get(name) for each in objects])) for name in names])


def stream_records(
    records: Iterable[Record], options: ReaderOptions, keep: pa.Schema, skip: Skip, block_rows: int
) -> Iterator[RawRows]:
    """The records' slices in order, `block_rows` at a time read ahead."""
    types = column_types(options, keep)
    blocks = in_blocks(records, block_rows)
    return in_slices(blocks, options.slice_rows, skip, lambda group, start: to_raw_rows(group, start, types, options))


def to_raw_rows(
    records: Sequence[Record], start: int, types: Mapping[str, pa.DataType], options: ReaderOptions
) -> RawRows:
    """The rows from `start` on, in the columns of `types`."""
    bad: dict[int, BadRow] = {}
    objects: list[dict[str, Any]] = []
    rows: list[int] = []
    for row, record in enumerate(records, start):
        problem = record if isinstance(record, BadRow) else _wrong_scalar(record, options)
        if problem is not None:
            bad[row] = BadRow(row, problem.reason, problem.detail)
        elif isinstance(record, dict):
            objects.append(record)
            rows.append(row)
    columns: dict[str, pa.Array] = {}
    for name, to in types.items():
        values = [each.get(name) for each in objects]
        columns[name], misfits = fit_python([_id(value) for value in values] if name == options.id else values, to)
        for index, detail in misfits:
            reason = NOT_UTF8 if "surrogate" in detail else MALFORMED
            bad.setdefault(rows[index], BadRow(rows[index], reason, f"{name}: {detail}"))
    good = np.array([row not in bad for row in rows], dtype=bool)
    table = pa.table(columns).filter(pa.array(good))
    return RawRows(start, start + len(records), table, np.array(rows, np.int64)[good], tuple(bad.values()))


def _id(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return None if isinstance(value, float) and math.isnan(value) else json.dumps(value)


def _wrong_scalar(record: dict[str, Any], options: ReaderOptions) -> BadRow | None:
    text = record.get(options.text or "")
    if not isinstance(text, str | None):
        return BadRow(-1, MALFORMED, f"{options.text}: a {type(text).__name__}, not a string")
    if isinstance(text, str) and not _encodable(text):
        return BadRow(-1, NOT_UTF8, f"{options.text}: half of a surrogate pair")
    identifier = record.get(options.id) if options.id is not None else None
    if isinstance(identifier, dict | list):
        return BadRow(-1, MALFORMED, f"{options.id}: a {type(identifier).__name__}, not a string or number")
    if isinstance(identifier, str) and not _encodable(identifier):
        return BadRow(-1, NOT_UTF8, f"{options.id}: half of a surrogate pair")
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
