"""From records, mappings of Python values, to columns.

An id or a text that does not fit costs its row; of metadata that does not fit the value is null.
"""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from pipeline.corpus.formats.base import BadRow, Misfit, RawRows, ReaderOptions, Skip
from pipeline.corpus.formats.columns import fit_python, infer_python, is_name
from pipeline.corpus.formats.lines import in_blocks, in_slices
from pipeline.rejects import MALFORMED, NOT_UTF8

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = [
    "Record",
    "as_record",
    "column_types",
    "parse_json",
    "parse_object",
    "records_schema",
    "stream_records",
    "to_raw_rows",
]

Record = dict[str, Any] | BadRow
"""A row, or why there is none; `BadRow.row` is not looked at."""

_KINDS: Final = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}


def column_types(options: ReaderOptions, keep: pa.Schema) -> dict[str, pa.DataType]:
    """What each column of the options is read as: text and id as strings, other metadata as `keep` says."""
    metadata = {field.name: field.type for field in keep}
    decisive = {name: pa.large_string() for name in (options.text, options.id) if name is not None}
    return dict.fromkeys(options.columns, pa.large_string()) | metadata | decisive


def parse_json(text: bytes) -> Any:
    """What a JSON text says; integers of more digits than Python reads are strings.

    Raises:
        ValueError: it is not JSON, or not UTF-8.
        RecursionError: it is nested too deeply.
    """
    decoded = text.decode("utf-8-sig")
    try:
        return json.loads(decoded)
    except json.JSONDecodeError:
        raise
    except ValueError:
        most = sys.get_int_max_str_digits()
        return json.loads(decoded, parse_int=lambda digits: int(digits) if len(digits) < most else digits)


def parse_object(text: bytes) -> Record:
    """One JSON object."""
    try:
        parsed = parse_json(text)
    except UnicodeDecodeError as error:
        return BadRow(-1, NOT_UTF8, str(error))
    except (ValueError, RecursionError) as error:
        return BadRow(-1, MALFORMED, f"not JSON: {error}")
    return as_record(parsed)


def as_record(parsed: Any) -> Record:
    """A JSON value, if it is an object."""
    return parsed if isinstance(parsed, dict) else BadRow(-1, MALFORMED, f"{_in_words(parsed)}, not an object")


def _in_words(value: Any) -> str:
    """What JSON calls a value of its kind."""
    return _KINDS.get(type(value), "a number")


def records_schema(records: Iterable[Record]) -> pa.Schema:
    """All keys, in the order in which they come, each with the type that holds its values."""
    objects = [each for each in records if isinstance(each, dict)]
    names = filter(is_name, dict.fromkeys(name for each in objects for name in each))
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
    misfits: list[Misfit] = []
    for name, to in types.items():
        values = [each.get(name) for each in objects]
        columns[name], wrong = fit_python([_id(value) for value in values] if name == options.id else values, to)
        if name not in (options.text, options.id):
            misfits += [(rows[index], name) for index, _ in wrong]
            continue
        for index, detail in wrong:
            reason = NOT_UTF8 if "surrogate" in detail else MALFORMED
            bad.setdefault(rows[index], BadRow(rows[index], reason, f"{name}: {detail}"))
    good = np.array([row not in bad for row in rows], dtype=bool)
    table = pa.table(columns).filter(pa.array(good))
    numbers = np.array(rows, np.int64)[good]
    return RawRows(start, start + len(records), table, numbers, tuple(bad.values()), _of_rows(misfits, numbers))


def _of_rows(misfits: list[Misfit], rows: np.ndarray) -> tuple[Misfit, ...]:
    """Without those of rows that are rejected anyway."""
    there = set(rows.tolist()) if misfits else set()
    return tuple(each for each in misfits if each[0] in there)


def _id(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return None if isinstance(value, float) and math.isnan(value) else json.dumps(value)


def _wrong_scalar(record: dict[str, Any], options: ReaderOptions) -> BadRow | None:
    text = record.get(options.text or "")
    if not isinstance(text, str | None):
        return BadRow(-1, MALFORMED, f"{options.text}: {_in_words(text)}, not a string")
    if isinstance(text, str) and not _encodable(text):
        return BadRow(-1, NOT_UTF8, f"{options.text}: half of a surrogate pair")
    identifier = record.get(options.id) if options.id is not None else None
    if isinstance(identifier, dict | list):
        return BadRow(-1, MALFORMED, f"{options.id}: {_in_words(identifier)}, not a string or number")
    if isinstance(identifier, str) and not _encodable(identifier):
        return BadRow(-1, NOT_UTF8, f"{options.id}: half of a surrogate pair")
    return None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
