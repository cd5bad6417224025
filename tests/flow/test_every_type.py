"""All types that a source may have, kept in one table: read from Parquet and Lance, embedded, searched, asked for."""

from __future__ import annotations

import lance
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import VectorTable, embed
from pipeline.errors import UsageError
from pipeline.table.query.literals import is_comparable
from pipeline.values import as_cell, as_json


@pytest.fixture(scope="module")
def columns(load):
    """Without what a table cannot hold, of which planning says so."""
    every_type = load("every_type.py")
    return {name: column for name, column in every_type.columns().items()
            if column.type not in every_type.UNSTORABLE and "run_end" not in name and "map" not in name}  # fmt: skip


def sources(folder, columns):
    """The same documents as Parquet and as Lance, under other ids."""
    names = ("p", "l")
    tables = {name: pa.table({"id": [f"{name}{row}" for row in range(3)], "text": [f"{name} river boat {row}"
              for row in range(3)], **columns}) for name in names}  # fmt: skip
    pq.write_table(tables["p"], folder / "in.parquet")
    lance.write_dataset(tables["l"], str(folder / "in.lance"))
    return [str(folder / "in.lance"), str(folder / "in.parquet")]


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=[pytest.mark.cluster, pytest.mark.slow])])
def table(request, columns, lab, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    given = sources(folder, columns)
    report = embed(given, str(folder / "lake" / "t"), lab.SPEC, keep=tuple(columns), engine=request.param)
    assert (report.documents, report.rejects) == (6, 0)
    return VectorTable.open(str(folder / "lake" / "t"))


def test_values_come_out_as_they_went_in(table, columns):
    hits = {hit["id"]: hit for hit in as_json(table.search(like="p1", k=6)) + as_json(table.search(like="l1", k=6))}
    assert len(hits) == 6
    for name, column in columns.items():
        shown = as_json(column)
        for source in "pl":
            assert [hits[f"{source}{row}"][name] for row in range(3)] == shown, (source, name)


def test_each_value_finds_its_documents(table, columns):
    found = 0
    for name, column in columns.items():
        shown = as_json(column)[0]
        if name in {"null", "large_list<item: string>"}:
            continue  # missing is missing, and any text may be a value in a list
        if not is_comparable(table.schema.field(name).type):
            with pytest.raises(UsageError, match=r"cannot be compared|no such value"):
                table.search(like="p1", where={name: as_cell(shown)})
        elif shown is not None:
            hits = table.search(like="p1", where={name: as_cell(shown)})
            assert sorted(hits.column("id").to_pylist()) == ["l0", "p0"], name
            found += 1
    assert found > 30
