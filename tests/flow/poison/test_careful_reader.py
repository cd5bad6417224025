"""Careful reading, without processes: what kills is a read that raises and leaves its unit open."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.corpus import ReaderOptions, SourceFile, UnitPart, WorkUnit, documents_schema
from pipeline.corpus import reading as units_module
from pipeline.corpus.formats.base import RawRows
from pipeline.corpus.slices import Slice, slice_of
from pipeline.flow.poison.items import READ, CarefulReader
from pipeline.flow.poison.tracker import Tracker

SLICES, ROWS = 6, 4
OPTIONS = ReaderOptions(text="text", id="id", slice_rows=ROWS)
STREAM = SourceFile("file:///in/a.jsonl", "jsonl", None, 1000, "1")
TABLE = SourceFile("file:///in/a.parquet", "parquet", None, 1000, "1")
KEEP = pa.schema([])


class DiedError(Exception):
    pass


def raw(number):
    rows = np.arange(number * ROWS, (number + 1) * ROWS)
    table = pa.table(
        {"id": [f"d{row}" for row in rows], "text": pa.array([f"text {row}" for row in rows], pa.large_string())}
    )
    return RawRows(int(rows[0]), int(rows[-1]) + 1, table, rows)


@pytest.fixture
def deadly(monkeypatch):
    """Slices that kill when they are parsed, and slices whose bytes alone kill."""
    parsed, bytes_ = set(), set()

    def stream(file, options, keep, *, skip, storage_options=None):
        for number in range(SLICES):
            if number in bytes_:
                raise DiedError
            piece = raw(number)
            if skip(piece.start):
                yield RawRows(piece.start, piece.stop, None, np.empty(0, np.int64))
                continue
            if number in parsed:
                raise DiedError
            yield piece

    def rows(file, options, start, stop, *, storage_options=None):
        for number in range(start // ROWS, -(-stop // ROWS)):
            if number in parsed:
                raise DiedError
            yield raw(number)

    monkeypatch.setattr(units_module, "read_stream", stream)
    monkeypatch.setattr(units_module, "read_rows", rows)
    return parsed, bytes_


def number_of(slice_id, file=STREAM):
    return next(number for number in range(50) if slice_of(file, number * ROWS, OPTIONS).id == slice_id)


def read(unit, done=()):
    """Lives until the unit ends: how many, the slices with documents, the rejected slices, the records."""
    tracker = Tracker(None, "run")
    for life in range(1, 40):
        tracker.begin("unit", READ)
        reader = CarefulReader(tracker, "unit", OPTIONS, KEEP, set(done).__contains__, None)
        try:
            batches = list(reader.read(unit))
        except DiedError:
            continue
        file = unit.parts[0].file
        documents = pa.concat_tables([documents_schema(KEEP).empty_table(), *(each.documents for each in batches)])
        accepted = [number_of(each, file) for each in documents["slice"].unique().to_pylist()]
        rejects = [row for each in batches for row in each.rejects.to_pylist()]
        assert {(row["row"], row["stage"]) for row in rejects} <= {(-1, "read")}
        records = [record for each in batches for record in each.finished_files]
        return life, accepted, [number_of(row["slice"], file) for row in rejects], records
    raise AssertionError


def whole_stream():
    return WorkUnit((UnitPart(STREAM, None),))


def test_a_stream_without_killers_is_read_to_its_end(deadly):
    life, accepted, rejected, (record,) = read(whole_stream())
    assert (life, accepted, rejected, record.slices, record.rows) == (1, [0, 1, 2, 3, 4, 5], [], SLICES, SLICES * ROWS)


@pytest.mark.parametrize("killers", [{0}, {3}, {5}, {1, 2}])
def test_a_slice_that_kills_when_parsed_is_passed_over(deadly, killers):
    deadly[0].update(killers)
    life, accepted, rejected, (record,) = read(whole_stream())
    assert life == 2 * len(killers) + 1
    assert (set(accepted), set(rejected)) == (set(range(SLICES)) - killers, killers)
    assert record.slices == SLICES


@pytest.mark.parametrize("broken", [0, 1, 4])
def test_a_stream_ends_before_bytes_that_kill(deadly, broken):
    deadly[1].add(broken)
    _, accepted, rejected, (record,) = read(whole_stream())
    assert accepted == list(range(broken))
    assert rejected == [broken]
    assert (record.slices, record.rows) == (broken + 1, broken * ROWS)


def test_finished_slices_before_the_killer_are_only_counted(deadly):
    deadly[0].add(4)
    deadly[1].add(5)
    done = [slice_of(STREAM, number * ROWS, OPTIONS).id for number in (0, 3)]
    _, accepted, rejected, (record,) = read(whole_stream(), done)
    assert (accepted, rejected, record.slices) == ([1, 2], [4, 5], 6)


def test_slices_of_a_table_are_read_one_by_one(deadly):
    deadly[0].update({1, 4})
    slices = [slice_of(TABLE, number * ROWS, OPTIONS, SLICES * ROWS) for number in range(SLICES)]
    unit = WorkUnit((UnitPart(TABLE, tuple(Slice(each.id, each.start, each.stop) for each in slices), SLICES * ROWS),))
    life, accepted, rejected, records = read(unit, [slices[0].id])
    assert (life, accepted, rejected, records) == (5, [2, 3, 5], [1, 4], [])
