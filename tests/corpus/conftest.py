from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pytest

from pipeline.corpus import ReaderOptions, WorkUnit, keep_schema, list_sources, plan, read_unit, resolve_columns


@dataclass
class Result:
    documents: pa.Table
    rejects: pa.Table
    batches: list
    options: ReaderOptions
    keep: pa.Schema

    @property
    def reasons(self):
        return list(zip(*(self.rejects[name].to_pylist() for name in ("row", "reason")), strict=True))

    @property
    def misfits(self):
        return Counter(column for batch in self.batches for column in batch.misfits["column"].to_pylist())

    @property
    def records(self):
        return [record for batch in self.batches for record in batch.finished_files]


@pytest.fixture
def read():
    """Everything from listing to check, as a plain Python loop."""

    def run(*sources, done=None, storage_options=None, options=None, schema=None, **fields):
        files = list_sources([str(source) for source in sources], storage_options=storage_options)
        given = options or ReaderOptions(**fields)
        resolved = options or resolve_columns(files, given, storage_options=storage_options)
        keep = schema or keep_schema(files, resolved, storage_options=storage_options)
        units = [
            WorkUnit.from_json(unit.to_json())
            for unit in plan(files, resolved, done=done, storage_options=storage_options)
        ]
        batches = [
            batch
            for unit in units
            for batch in read_unit(unit, resolved, keep=keep, done=done, storage_options=storage_options)
        ]
        assert batches, "the plan is empty"
        return Result(
            pa.concat_tables([batch.documents for batch in batches]),
            pa.concat_tables([batch.rejects for batch in batches]),
            batches,
            resolved,
            keep,
        )

    return run
