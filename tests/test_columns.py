"""Operations on whole columns: what Rust is given begins where it must, for every type."""

from __future__ import annotations

import ast
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pipeline
from pipeline.columns import aligned, aligned_batches


@pytest.fixture(scope="session")
def every_type(load):
    return load("every_type.py")


def test_every_arrow_type_is_tried(every_type):
    ids = {name.removeprefix("Type_"): getattr(pa.lib, name) for name in dir(pa.lib) if name.startswith("Type_")}
    tried = {column.type.id for column in every_type.columns().values()}
    assert {name for name, number in ids.items() if number not in tried} <= every_type.UNMADE


@given(offset=st.integers(1, 63), start=st.integers(0, 2))
def test_buffers_at_odd_places_are_moved(every_type, offset, start):
    """One column of all types at a time: a table's columns lie behind each other."""
    columns = every_type.columns()
    odd = every_type.misplaced(pa.table(list(columns.values()), names=list(columns)).slice(start), offset)
    assert len([column for column in odd.columns if any(at % 64 for at in every_type.addresses(column))]) > 40
    moved = aligned(odd)
    assert moved.schema == odd.schema
    for name, column in columns.items():
        assert {address % 64 for address in every_type.addresses(moved.column(name))} <= {0}, name
        if pa.types.is_floating(column.type) or "float" in name:
            continue  # NaN is no NaN's equal
        assert moved.column(name).combine_chunks().equals(column.slice(start)), name


def test_batches_are_moved_as_they_pass(every_type):
    numbers = pa.table({"n": pa.array([1, 2, 3], pa.int64()).cast(pa.decimal128(19, 0))})
    batches = [batch for each in (numbers, numbers) for batch in every_type.misplaced(each, 9).to_batches()]
    reader = aligned_batches(numbers.schema, iter(batches))
    moved = reader.read_all()
    assert {address % 64 for address in every_type.addresses(moved.column("n"))} == {0}
    assert moved.equals(pa.concat_tables([numbers, numbers]))


def called(node):
    return getattr(node.func, "attr", getattr(node.func, "id", None)) if isinstance(node, ast.Call) else None


def test_nothing_goes_to_lance_unaligned():
    """Every hand-over, found by the names of Lance's functions that take rows."""
    found = set()
    for path in Path(pipeline.__file__).parent.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        moved = {ast.unparse(node.targets[0]) for node in ast.walk(tree)
                 if isinstance(node, ast.Assign) and called(node.value) == "aligned_batches"}  # fmt: skip
        for node in ast.walk(tree):
            if called(node) in {"write_fragments", "write_dataset", "execute"}:
                rows = node.args[0]
                if ast.unparse(node) != "task.execute(dataset)":  # a compaction
                    assert called(rows) == "aligned" or ast.unparse(rows) in moved, f"{path}: {ast.unparse(node)}"
                    found.add(path.name)
    assert found >= {"staging.py", "upsert.py", "next_version.py", "assign.py"}
